"""What can be said of keys without opening any: how many there are, which are due, and whether objects agree."""
