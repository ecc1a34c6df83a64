"""The demonstration: a whole Replay Vault on a temporary folder, and what happens when its checks are gone."""
