"""What only the commands need: first lines, what was typed, a table of scores, last words."""
