"""The catalog, on both engines."""
