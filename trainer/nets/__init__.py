"""Networks: encoders, heads, teachers, a classifier, and batch norm over views and ranks."""
