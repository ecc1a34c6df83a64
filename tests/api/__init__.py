"""The HTTP edge against a real server."""
