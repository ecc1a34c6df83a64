"""The command line as real processes against a real service, and its help by what it shows."""
