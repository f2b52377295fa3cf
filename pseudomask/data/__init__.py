"""Photos and image-level labels: finding, decoding, reading and matching them.

Nothing is imported here, so that `pseudomask --help` stays instant.
"""
