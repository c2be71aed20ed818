"""The meaning of another background, in plain numpy: what `augengine/reference.py` does first.

Whole numbers on uint8 pixels, so that whoever does the same gets the same to the letter.
"""

import numpy as np


def replace_background(image: np.ndarray, mask: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The image where the mask is 255, another where it is 0, else a mixture: whole numbers."""
    share = mask[..., None].astype(np.int64)
    return ((share * image + (255 - share) * behind + 127) // 255).astype(np.uint8)


def background_of(image: np.ndarray, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A donor's background, its foreground in their mean colour, stretched by nearest pixels."""
    share = 255 - mask[..., None].astype(np.int64)
    total = share.sum()
    mean = ((share * image).sum((0, 1)) + total // 2) // max(1, total)
    bare = replace_background(np.broadcast_to(mean, image.shape), mask, image)
    rows = (2 * np.arange(height) + 1) * image.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * image.shape[1] // (2 * width)
    return bare[rows][:, columns]
