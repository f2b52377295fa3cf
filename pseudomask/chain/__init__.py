"""A chain of verbs from one file: `pseudomask run`.

`steps` defines a chain, `file` reads the TOML, `plan` turns it into each step's settings, `checks` finds what
cannot work, `status` finds what is already done, `run` does the rest, and `record` records the outcome.
"""
