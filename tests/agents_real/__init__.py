"""The real agent programs, each in a sandbox with only the loopback interface."""
