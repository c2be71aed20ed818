"""Trained encoders: every method by its recipe, and recipes fitted to a set."""
