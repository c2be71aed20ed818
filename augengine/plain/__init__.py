"""Ops of the reference in numpy, said as plainly as possible."""
