"""Functions of functions: what takes a user's function and gives another, or nodes of it."""
