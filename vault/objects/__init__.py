"""Sealed objects: the bytes that stand in the object store, and the only way in and out of them."""
