"""Measuring masks and scores against truth: confusion counts, threshold sweep, reports."""
