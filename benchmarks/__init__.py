"""Measurements that back what the docs say; each is run with `python -m benchmarks.NAME`."""
