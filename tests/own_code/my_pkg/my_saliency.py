"""A saliency method: the left half of every image."""

import numpy as np


class Left:
    """Takes what lies on the left for the foreground."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W] bool."""
        mask = np.zeros(image.shape[:2], bool)
        mask[:, : image.shape[1] // 2] = True
        return mask


class Wrong:
    """Gives the image back."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3]."""
        return image
