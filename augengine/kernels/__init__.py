"""Kernels: what touches pixels, compiled."""
