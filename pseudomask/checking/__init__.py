"""The verb `check`: what photos and tags can teach, before any training."""
