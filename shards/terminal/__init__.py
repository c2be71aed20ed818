"""The terminal: the parser of every command, its console, sizes as words."""
