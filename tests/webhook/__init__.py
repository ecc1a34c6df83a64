"""The webhook: where it may go, what it says, how it is delivered."""
