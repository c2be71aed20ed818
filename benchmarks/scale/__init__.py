"""Size: how a run starts on a billion samples."""
