"""EuclidesDB's wire contract, and the stubs made from it (`make protos`)."""
