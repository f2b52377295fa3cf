"""The verb `check`: what can be learned from photos and tags, before any training."""
