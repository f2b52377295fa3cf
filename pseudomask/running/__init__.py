"""Running over a folder: whole files, manifest, run record, output layout, signals, progress."""
