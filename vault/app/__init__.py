"""All wiring, no logic: which rooms a role is made of. One module a role, so that each loads only what it may."""
