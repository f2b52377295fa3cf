"""A chain of verbs from one file: `pseudomask run`.

`steps` says what a chain is, `file` reads the TOML, `plan` makes each step's settings of it, `checks` finds what
cannot work, `standing` asks what is there already, `run` does the rest, and `record` writes down what became of it.
"""
