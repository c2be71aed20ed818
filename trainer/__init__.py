"""Views to a trained encoder: methods, the loop, checkpoints, evaluation."""
