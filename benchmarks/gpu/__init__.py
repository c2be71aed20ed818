"""What needs an NVIDIA GPU: one check of everything, and what it runs."""
