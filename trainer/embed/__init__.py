"""Features of every image of a set, as a file that others read: `python -m trainer.embed`."""
