"""The worker and its gateway."""
