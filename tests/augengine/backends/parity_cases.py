"""Images and plans on which backends are held against the reference: photographs and hard edges."""

from functools import cache
from typing import Any

import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

from augengine.plan import NO_SOLARIZE, Plan

SIZES = (48, 7)  # of the two crop groups
VIEWS = (2, 3)
NUM_VIEWS = sum(VIEWS)
THRESHOLD = 128 / 255


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """Five photographs, [H, W, 3] uint8, some 300 pixels a side."""
    china, flower = load_sample_images().images
    images = (data.astronaut(), data.coffee(), data.chelsea(), china, flower)
    return tuple(np.ascontiguousarray(image[60:360, 100:410]) for image in images)


@cache
def hard_images() -> tuple[np.ndarray, ...]:
    """What breaks a resize: steps, the finest checkerboard, slivers, one pixel, pure colours."""
    rng = np.random.default_rng(0)
    squares = np.kron([[0, 255], [255, 0]], np.ones((40, 40)))
    checkerboard = np.indices((33, 45)).sum(axis=0) % 2 * 255
    colours = np.kron(rng.integers(0, 2, (4, 4, 3)) * 255, np.ones((9, 9, 1)))
    gray = [np.repeat(image[..., None], 3, axis=2) for image in (squares, checkerboard)]
    shapes = ((1, 1), (200, 3), (2, 150), (5, 7))
    noise = [rng.integers(0, 256, (*shape, 3)) for shape in shapes]
    return tuple(image.astype(np.uint8) for image in (*gray, colours, *noise))


def neutral_plan(images: tuple[np.ndarray, ...], seed: int = 0, **changes: Any) -> Plan:
    """Windows of every kind and nothing else applied; `changes` are fields of Plan.

    The first views are the whole image, a corner pixel and the opposite corner's quarter.
    """
    rng = np.random.default_rng(seed)
    b, v = len(images), NUM_VIEWS
    sizes = np.array([image.shape[:2] for image in images])[:, None]  # [B, 1, 2]
    shape = np.ceil(sizes * rng.uniform(0.01, 1, (b, v, 2))).astype(int)
    corner = np.floor((sizes - shape + 1) * rng.uniform(0, 1, (b, v, 2))).astype(int)
    shape[:, 0], corner[:, 0] = sizes[:, 0], 0
    shape[:, 1], corner[:, 1] = 1, 0
    shape[:, 2] = (sizes[:, 0] + 1) // 2
    corner[:, 2] = sizes[:, 0] - shape[:, 2]
    fields: dict[str, Any] = {
        "ids": np.arange(b),
        "epochs": np.zeros(b),
        "image_sizes": sizes[:, 0],
        "window": np.concatenate([corner, shape], axis=-1),
        "flip": np.zeros((b, v)),
        **{name: np.ones((b, v)) for name in ("brightness", "contrast", "saturation")},
        **{name: np.zeros((b, v)) for name in ("hue", "order", "gray", "sigma")},
        "solarize": np.full((b, v), NO_SOLARIZE),
        "group": np.repeat(np.arange(len(VIEWS)), VIEWS),
        "size_px": np.repeat(SIZES, VIEWS),
        "kernel_px": np.full(v, 7),
        "bicubic": np.zeros(v),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    }
    return Plan(**(fields | changes))


def op_changes(op: str, b: int) -> dict[str, Any]:
    """The fields of Plan that apply one op of tests/tolerances.py strongly to every view."""
    rng = np.random.default_rng(1)
    shape = (b, NUM_VIEWS)
    factors = {n: rng.uniform(0, 2, shape) for n in ("brightness", "contrast", "saturation")}
    turns = rng.uniform(-0.5, 0.5, shape)
    return {
        "bilinear": {},
        "bicubic": {"bicubic": np.ones(NUM_VIEWS)},
        "flip": {"flip": np.ones(shape)},
        "vflip": {"vflip": np.ones(shape)},
        "rotate90": {"quarter_turns": np.arange(b * NUM_VIEWS).reshape(shape) % 4},
        # Every pose, under all that is not the same at every pixel.
        "turned": {
            "vflip": rng.integers(0, 2, shape),
            "quarter_turns": rng.integers(0, 4, shape),
            "flip": rng.integers(0, 2, shape),
            "contrast": factors["contrast"],
            "sigma": np.full(shape, 1.1),
        },
        **{name: {name: values} for name, values in factors.items()},
        "hue": {"hue": turns},
        "jitter": {**factors, "hue": turns, "order": np.arange(b * NUM_VIEWS).reshape(shape) % 24},
        "gray": {"gray": np.ones(shape)},
        "blur": {"sigma": rng.uniform(0.1, 2, shape)},
        "solarize": {"solarize": np.full(shape, THRESHOLD)},
    }[op]
