"""Samples that are kept in memory, so that they are not read or decoded again."""
