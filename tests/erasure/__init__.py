"""Erasures: their steps, crashes between them, and certificates."""
