"""Running over a folder: atomic writes, manifest, run record, output layout, locks, signals, progress."""
