"""Both directions between the messages of `embeddb_protos.v1` and the vocabulary of `embeddb.query`.

Each module holds one side of the contract. In all of them `x_message` makes a message from the
vocabulary, and `x_from` makes the vocabulary from a message, raising `InvalidArgumentError` with the name
of the field where the message is malformed.
"""
