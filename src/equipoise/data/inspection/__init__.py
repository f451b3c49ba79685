"""Inspection of data before training: `inspect` reports, `duplicates` compares images, `sheets` draws them."""
