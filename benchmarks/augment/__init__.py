"""Bytes to views: images a second of a backend, of the loader, and the memory they take."""
