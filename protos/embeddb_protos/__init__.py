"""embeddb's wire contract: `v1` holds messages and stubs, `wire` turns them into the vocabulary and back."""
