"""The command line `embeddb`."""
