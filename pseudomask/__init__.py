"""Image-level tags in, pixel masks out."""
