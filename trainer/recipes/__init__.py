"""The recipes that ship (YAML), how one is read, and what a command lays over it."""
