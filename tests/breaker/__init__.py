"""The breaker: its window, its script, and one process."""
