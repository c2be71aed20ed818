"""Checks that need an NVIDIA GPU: one command for all, and its parts."""
