"""The command line: a thin file a verb. The only place that prints and that knows Typer and Rich."""
