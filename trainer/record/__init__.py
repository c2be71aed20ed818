"""The record of a run: its folder, its files line by line, its scores, its header."""
