"""Refiners: scores and the photo in, better scores out."""
