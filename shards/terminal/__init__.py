"""What a user types and reads: the parser of every command, its console, sizes as words."""
