"""Encoded images to pixels: DALI on GPU or CPU, Pillow where DALI is absent."""
