"""The gRPC services. Each turns messages into calls of the engine and back, and decides nothing itself."""
