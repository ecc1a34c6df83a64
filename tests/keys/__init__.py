"""The strongroom."""
