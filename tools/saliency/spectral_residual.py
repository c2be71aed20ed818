"""Saliency by the spectral residual: what stands out of an image's log spectrum stands out of it.

Hou and Zhang, CVPR 2007, "Saliency detection: a spectral residual approach": the log amplitudes
less their 3x3 mean, back with the phase, squared and smoothed, at a side of 64 pixels; foreground
is what is over three times the mean. How much it is smoothed is chosen here. Nothing is learned,
and it finds blobs, not outlines.
"""

import numpy as np
from PIL import Image

SIDE_PX = 64  # of the longer side
SIGMA_PX = 2.5
THRESHOLD = 3.0  # times the mean
_LEAST = 1e-12


class SpectralResidual:
    """Finds the foreground of one image at a time."""

    def __call__(
        self,
        image: np.ndarray,  # [H, W, 3] uint8
    ) -> np.ndarray:
        """[H, W] bool - the foreground; all of it where nothing stands out."""
        height, width = image.shape[:2]
        scale = SIDE_PX / max(height, width)
        small = max(1, round(width * scale)), max(1, round(height * scale))
        gray = Image.fromarray(image).convert("L").resize(small, Image.Resampling.BILINEAR)
        found = saliency(np.asarray(gray, np.float64))
        # Of a constant image what is left is rounding.
        if found.max() <= THRESHOLD * found.mean() or np.ptp(np.asarray(gray)) == 0:
            return np.ones((height, width), bool)
        resized = Image.fromarray(found.astype(np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        return np.asarray(resized) > THRESHOLD * found.mean()


def saliency(
    gray: np.ndarray,  # [h, w] float64
) -> np.ndarray:
    """[h, w] float64, the larger the more salient."""
    spectrum = np.fft.fft2(gray)
    amplitudes = np.log(np.abs(spectrum) + _LEAST)
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    mean = sum(np.roll(amplitudes, shift, (0, 1)) for shift in shifts) / len(shifts)
    residual = np.exp(amplitudes - mean + 1j * np.angle(spectrum))
    power = np.abs(np.fft.ifft2(residual)) ** 2
    rows, columns = (np.fft.fftfreq(side) for side in gray.shape)
    gaussian = np.exp(-2 * (np.pi * SIGMA_PX) ** 2 * (rows[:, None] ** 2 + columns**2))
    return np.maximum(0, np.fft.ifft2(np.fft.fft2(power) * gaussian).real)
