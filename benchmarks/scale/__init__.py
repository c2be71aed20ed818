"""Size: a billion samples, a million rows of an index, several ranks."""
