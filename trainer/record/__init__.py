"""What a run leaves and says: its folder, its records line by line, its scores, its header."""
