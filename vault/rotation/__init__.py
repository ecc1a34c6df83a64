"""Rotation of keys as jobs: each step a transaction that may be repeated, and that takes nothing from any session."""
