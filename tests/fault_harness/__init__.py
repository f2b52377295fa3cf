"""Real processes to disturb, protections to take away, damaged files: what tests/faults stands on. See README.md."""
