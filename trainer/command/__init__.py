"""Parts of the commands alone: first lines, what was typed, a table of scores, last words."""
