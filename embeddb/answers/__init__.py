"""Questions and searches -> answers: what wires spaces, storage and models together for them."""
