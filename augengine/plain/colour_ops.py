"""The ops of the reference that change colours, one pixel at a time but for the mean of contrast.

All take and return [H, W, 3] float32, in [0, 1] but for what is normalised.
"""

import numpy as np

GRAY_WEIGHTS = (0.299, 0.587, 0.114)


def adjust_brightness(x: np.ndarray, factor: float) -> np.ndarray:
    """`x * factor`, clamped."""
    return clamp(x.astype(np.float64) * factor)


def adjust_contrast(x: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean of the gray image: `x * factor + mean * (1 - factor)`, clamped."""
    mean = gray_of(x).mean()
    return clamp(x.astype(np.float64) * factor + mean * (1 - factor))


def adjust_saturation(x: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the gray image: `x * factor + gray * (1 - factor)`, clamped."""
    return clamp(x.astype(np.float64) * factor + gray_of(x)[..., None] * (1 - factor))


def adjust_hue(x: np.ndarray, turns: float) -> np.ndarray:
    """Turn the hue in HSV by `turns` (1 is the full circle), clamped."""
    hue, saturation, value = np.moveaxis(rgb_to_hsv(x), -1, 0)
    return clamp(hsv_to_rgb(np.stack([(hue + turns) % 1.0, saturation, value], axis=-1)))


def gray_of(x: np.ndarray) -> np.ndarray:
    """The [H, W] float64 gray image, weights .299/.587/.114."""
    return x.astype(np.float64) @ np.array(GRAY_WEIGHTS)


def to_gray(x: np.ndarray) -> np.ndarray:
    """The gray image in all three channels."""
    return clamp(np.repeat(gray_of(x)[..., None], 3, axis=-1))


def solarize(x: np.ndarray, threshold: float) -> np.ndarray:
    """Invert the values that reach the threshold: `1 - x` where `x >= threshold`."""
    return np.where(x >= np.float32(threshold), np.float32(1) - x, x).astype(np.float32)


def normalize(
    x: np.ndarray, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> np.ndarray:
    """`(x - mean) / std` per channel; the only step whose result leaves [0, 1]."""
    return ((x.astype(np.float64) - np.array(mean)) / np.array(std)).astype(np.float32)


def rgb_to_hsv(x: np.ndarray) -> np.ndarray:
    """Hue in turns [0, 1), saturation and value in [0, 1]: [H, W, 3] float64. Gray has hue 0."""
    red, green, blue = np.moveaxis(x.astype(np.float64), -1, 0)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    # Gray pixels have no hue; a divisor of 1 gives them 0 and saturation 0 keeps them gray.
    divisor = np.where(chroma == 0, 1.0, chroma)
    sector = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    saturation = chroma / np.where(value == 0, 1.0, value)
    return np.stack([(sector / 6) % 1.0, saturation, value], axis=-1)


def hsv_to_rgb(hsv: np.ndarray) -> np.ndarray:
    """The inverse of `rgb_to_hsv`: [H, W, 3] float64."""
    hue, saturation, value = np.moveaxis(hsv.astype(np.float64), -1, 0)
    sector = np.floor(hue * 6)
    fraction = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - saturation * fraction)
    rising = value * (1 - saturation * (1 - fraction))
    # A hue just below 1 may round up to 1, which is sector 6: red again.
    index = sector.astype(np.int64) % 6
    red = np.choose(index, [value, falling, low, low, rising, value])
    green = np.choose(index, [rising, value, value, falling, low, low])
    blue = np.choose(index, [low, low, rising, value, value, falling])
    return np.stack([red, green, blue], axis=-1)


def clamp(x: np.ndarray) -> np.ndarray:
    """Values below 0 and above 1 brought to these."""
    return np.clip(x, 0, 1).astype(np.float32)
