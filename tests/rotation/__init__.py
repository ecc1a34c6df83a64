"""Rotation: its order, its steps on real databases, its jobs, and viewers who must not notice."""
