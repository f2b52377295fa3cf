"""Backbones, the classification network whose weights make activation maps, and checkpoints."""
