"""The command line, made from the table of verbs. The only place that prints and that knows Typer and Rich."""
