"""One of everything that a person may bring; test_one_door.py uses it from the real commands."""
