"""A trained encoder on its way to others: read back, or written as another library wants it."""
