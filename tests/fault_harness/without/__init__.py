"""Protections taken away, a function each, whose docstring says which; mutations.py tells which test each is for."""
