"""The client against a real Replay Vault, through connections that are cut, and its pure parts by tables."""
