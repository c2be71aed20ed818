"""Losses: seconds, memory and launches of every form, and other libraries' values."""
