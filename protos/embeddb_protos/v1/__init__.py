"""The `.proto` files of package embeddb.v1 and the stubs made from them (`make protos`)."""
