"""The client of a backend."""
