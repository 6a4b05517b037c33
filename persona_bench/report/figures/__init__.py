"""Figures for papers and model cards; each has a `..._data` that is exactly what it shows."""
