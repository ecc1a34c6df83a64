"""The catalog: what is stored, for whom, in which state, and what work is owed. Holds no plaintext and no key."""
