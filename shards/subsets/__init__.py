"""A part of a set that looks like a set."""
