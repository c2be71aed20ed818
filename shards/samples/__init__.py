"""Samples: their image, their class, and the reasons to refuse a file as one."""
