"""What it takes to process a folder: atomic writes, manifest, run record, output layout, locks, signals, progress."""
