"""Bytes to views: images a second of a backend and of the loader, and the memory they take."""
