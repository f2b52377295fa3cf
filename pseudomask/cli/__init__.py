"""The command line, made from the table of verbs. Only this package prints and knows about Typer and Rich."""
