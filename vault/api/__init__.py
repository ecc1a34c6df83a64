"""The HTTP edge: one table of routes, one error shape, one middleware."""
