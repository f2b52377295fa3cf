"""`extract`: photos in, maps by a method, scores and masks out."""
