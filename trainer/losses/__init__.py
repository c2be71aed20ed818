"""Losses as pure functions, float32 inside."""
