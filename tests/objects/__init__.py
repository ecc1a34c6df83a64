"""Sealed objects: the format against its published oracle, both stores against real folders and a real S3 service."""
