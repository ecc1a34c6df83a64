"""Benchmarks that print what they measure: `python -m bench [memory|seek]`."""
