"""The formats, by a second implementation."""
