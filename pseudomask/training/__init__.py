"""What the training verbs have in common, and the loss of each."""
