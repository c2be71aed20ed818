"""Tars as bytes: headers, links, members, and reads at an offset of a tar on a disk."""
