"""Stands in for the older collector's own package, as far as its platforms use it."""
