"""What a minute of a core buys: ideas tried one by one at an equal cost of processor time."""
