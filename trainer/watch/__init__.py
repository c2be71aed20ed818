"""Watches over a run: memory before it; then losses, collapse, standstill, signals."""
