"""Master keys: they wrap the master halves of patient keys and never leave their keeper."""
