"""The door for what is named: shipped, of one's own, or of an installed package; `find` is it."""
