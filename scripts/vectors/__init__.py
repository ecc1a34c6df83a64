"""The test vectors of docs/format.md, one module for each group of structures."""
