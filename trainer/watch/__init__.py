"""What looks after a run: memory before it, losses and weights, collapse, a standstill, signals."""
