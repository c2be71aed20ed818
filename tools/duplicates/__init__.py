"""Images of a set that show nearly the same, found by their features."""
