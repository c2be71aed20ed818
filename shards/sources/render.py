"""Draws one demo image from a seed: a textured shape under random colour, place, light and clutter.

The class is the pair (shape, texture); nothing else in the picture depends on it. Colours are drawn
as three separate brightness bands (ground and the texture's two tones, in random roles), so that
shape and texture survive grayscale and colour jitter, while no single pixel tells the class:
distances between raw pixels carry little, an encoder has to find the form. Textures are coarse (a
period of 10 to 12 px at 64 px) and so stay visible at 32 px and in small local crops. Numpy only,
about two milliseconds an image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 64
SHAPES = ("disc", "cross")
TEXTURES = ("plain", "barred", "layered", "checked", "dotted", "ringed")
CLASSES = tuple(f"{texture}-{shape}" for shape in SHAPES for texture in TEXTURES)

_GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])
_BRIGHTNESS_BANDS = ((0.08, 0.26), (0.42, 0.56), (0.74, 0.92))
_ROWS, _COLUMNS = np.mgrid[0:SIDE_PX, 0:SIDE_PX] - (SIDE_PX - 1) / 2.0

Plane = NDArray[np.float64]  # [H, W]


@dataclass(frozen=True, slots=True)
class Factors:
    """What an image was drawn with beside its class."""

    ground: tuple[float, float, float]  # colour behind the shape: red, green, blue in [0, 1]
    centre_px: tuple[float, float]  # of the shape, down and right of the picture's
    turn: float  # of the shape, in radians
    radius_px: float


def render_image(label: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """Draw an image of class `label` as uint8 [64, 64, 3]; equal arguments give equal pixels.

    Args:
        label: position in `CLASSES`.
        seed: what makes this image itself, for example (data seed, split, number).
    """
    return _render(label, seed)[0]


def factors_of(label: int, seed: tuple[int, ...]) -> Factors:
    """What `render_image` draws with the same arguments."""
    return _render(label, seed)[1]


def _render(label: int, seed: tuple[int, ...]) -> tuple[NDArray[np.uint8], Factors]:
    shape, texture = divmod(label, len(TEXTURES))
    rng = np.random.default_rng((*seed, label))
    ground, tone_a, tone_b = _draw_colours(rng)
    image = np.broadcast_to(ground, (SIDE_PX, SIDE_PX, 3)).copy()
    _add_clutter(image, rng, num_lines=int(rng.integers(0, 2)), num_blobs=int(rng.integers(1, 4)))
    (top, left), turn = rng.uniform(-6.0, 6.0, 2), rng.uniform(-0.3, 0.3)
    # Seen from the shape: its centre is the origin, its axes are turned.
    rows, columns = _turned(_ROWS - top, _COLUMNS - left, turn)
    radius = rng.uniform(24.0, 31.0)
    inside = _coverage(_shape_distance(SHAPES[shape], rows, columns, radius))
    first_tone = _coverage(_texture_distance(TEXTURES[texture], *_texture_axes(rng, rows, columns)))
    _blend(image, tone_b, inside)
    _blend(image, tone_a, inside * first_tone)
    _add_clutter(image, rng, num_lines=int(rng.integers(0, 2)), num_blobs=0)
    image *= _light(rng)[..., None]
    image += rng.normal(0.0, rng.uniform(0.01, 0.04), image.shape)
    red, green, blue = ground.tolist()
    factors = Factors((red, green, blue), (float(top), float(left)), turn, radius)
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8), factors


def _draw_colours(rng: np.random.Generator) -> NDArray[np.float64]:
    """Three colours [3, 3], one in each brightness band, in random roles."""
    brightness = np.array([rng.uniform(*band) for band in rng.permutation(_BRIGHTNESS_BANDS)])
    return np.stack([_colour(rng, level) for level in brightness])


def _colour(rng: np.random.Generator, brightness: float) -> NDArray[np.float64]:
    """A random hue moved to the given gray value, as saturated as that leaves room for."""
    tint = rng.uniform(-1.0, 1.0, 3)
    tint -= tint @ _GRAY_WEIGHTS
    room = np.where(tint > 0, 1.0 - brightness, brightness) / np.maximum(np.abs(tint), 1e-6)
    return brightness + tint * room.min() * rng.uniform(0.2, 1.0)


def _turned(rows: Plane, columns: Plane, angle: float) -> tuple[Plane, Plane]:
    sine, cosine = np.sin(angle), np.cos(angle)
    return cosine * rows - sine * columns, sine * rows + cosine * columns


def _shape_distance(shape: str, rows: Plane, columns: Plane, radius: float) -> Plane:
    """Signed distance to the outline in pixels, negative inside; shapes of about equal area."""
    if shape == "disc":
        return np.hypot(rows, columns) - 0.88 * radius
    long_px, short_px = radius, 0.42 * radius
    upright = np.maximum(np.abs(rows) - long_px, np.abs(columns) - short_px)
    across = np.maximum(np.abs(rows) - short_px, np.abs(columns) - long_px)
    return np.minimum(upright, across)


def _texture_axes(
    rng: np.random.Generator, rows: Plane, columns: Plane
) -> tuple[Plane, Plane, float]:
    """The texture's own axes (turned and shifted against the shape's) and its period in pixels."""
    period = rng.uniform(10.0, 12.5)
    u, v = _turned(rows, columns, rng.uniform(-0.2, 0.2))
    shift = rng.uniform(0.0, period, 2)
    return u + shift[0], v + shift[1], period


def _texture_distance(texture: str, u: Plane, v: Plane, period: float) -> Plane:
    """Signed distance, in pixels, to the border between the texture's two tones."""
    if texture == "plain":
        return np.full_like(u, -1.0)
    if texture == "barred":
        return np.abs(_folded(v, period)) - period / 4.0
    if texture == "layered":
        return np.abs(_folded(u, period)) - period / 4.0
    if texture == "ringed":
        from_centre = np.hypot(u - period / 2.0, v - period / 2.0)
        return np.abs(_folded(from_centre, period)) - period / 4.0
    if texture == "checked":
        du = np.abs(_folded(u, 1.4 * period)) - 0.35 * period
        dv = np.abs(_folded(v, 1.4 * period)) - 0.35 * period
        return -np.sign(du * dv) * np.minimum(np.abs(du), np.abs(dv))
    return np.hypot(_folded(u, period), _folded(v, period)) - 0.33 * period


def _folded(x: Plane, period: float) -> Plane:
    """Coordinate relative to the nearest multiple of the period."""
    return x - period * np.rint(x / period)


def _coverage(distance: Plane) -> Plane:
    """Share of each pixel that lies inside: a one-pixel ramp, so that edges are antialiased."""
    return np.clip(0.5 - distance, 0.0, 1.0)


def _blend(image: NDArray[np.float64], colour: NDArray[np.float64], alpha: Plane) -> None:
    image += alpha[..., None] * (colour - image)


def _add_clutter(
    image: NDArray[np.float64], rng: np.random.Generator, *, num_lines: int, num_blobs: int
) -> None:
    """Paint lines through the picture and small soft blobs, in colours of their own."""
    for _ in range(num_lines):
        across, _along = _turned(_ROWS, _COLUMNS, rng.uniform(0.0, np.pi))
        distance = np.abs(across - rng.uniform(-32.0, 32.0)) - rng.uniform(0.4, 1.2)
        _blend(image, _colour(rng, rng.uniform(0.1, 0.9)), _coverage(distance))
    for _ in range(num_blobs):
        top, left = rng.uniform(-32.0, 32.0, 2)
        u, v = _turned(_ROWS - top, _COLUMNS - left, rng.uniform(0.0, np.pi))
        distance = np.hypot(u, v * rng.uniform(1.0, 2.5)) - rng.uniform(2.0, 6.0)
        _blend(image, _colour(rng, rng.uniform(0.1, 0.9)), _coverage(distance / 2.0))


def _light(rng: np.random.Generator) -> Plane:
    """A brightness ramp over the picture in a random direction."""
    along, _across = _turned(_ROWS, _COLUMNS, rng.uniform(0.0, 2.0 * np.pi))
    return 1.0 + rng.uniform(0.0, 0.35) * along / (SIDE_PX / 2.0)
