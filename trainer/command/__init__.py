"""Parts of the commands, and the door of notebooks: first lines, words to a config, last words."""
