"""Work on a finished set: check every byte, export indexes for other readers."""
