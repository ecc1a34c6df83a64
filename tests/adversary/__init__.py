"""What must not work: the rows of the threat table, one file a family, each on both engines unless it says otherwise.

The product runs as it is; what an attacker or a mistake may change is changed at test time: a check is replaced, stored
data is tampered with. What leaked is found by searching for planted words (`evidence`), not by trusting status codes.
"""
