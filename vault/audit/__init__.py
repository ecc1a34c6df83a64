"""Who did what, written down before it happens: a hash chain for each writer, durable before the first byte."""
