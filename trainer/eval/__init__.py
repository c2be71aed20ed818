"""Judging a frozen encoder: features, nearest neighbours, a linear probe."""
