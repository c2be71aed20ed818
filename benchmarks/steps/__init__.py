"""A training step counted: its operators, their bytes, its collectives."""
