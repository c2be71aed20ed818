"""Random numbers that a network wants for a view of an image.

They are a pure function of the run's seed, the image, its epoch and the view, as all that is drawn
to make the view (augengine/rng.py), in fields of their own. So an image has the same ones on any
number of ranks and in any part of a step, and a continued run repeats them.
"""

import math
from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np

from augengine.rng import NUM_BLOCKS, WORDS_PER_BLOCK, uniforms
from augengine.views import Views

MAX_NUMBERS = NUM_BLOCKS * WORDS_PER_BLOCK  # of a view, for one use
Draw = Callable[[int, int], np.ndarray]  # use and count -> [..., count] float64 in [0, 1)


class Use(IntEnum):
    """What a number is for; a part of its key, so these values never change. Yours begin at 192."""

    VMF_COSINE = 128
    VMF_DIRECTION = 129
    MIXED_NEGATIVES = 130
    BROWNIAN = 131


def view_uniforms(
    views: Views,
    columns: Sequence[int],  # V - of the views' plan
    seed: int,  # of the run
    use: int,  # of `Use`
    count: int,  # up to MAX_NUMBERS
) -> np.ndarray:
    """[V, B, count] float64 in [0, 1); fewer of them are the first of more."""
    keys = np.asarray(columns, np.int64)
    return uniforms(seed, views.plan.epochs, views.ids, keys, use, count).swapaxes(0, 1)


def normals(draw: Draw, use: int, count: int) -> np.ndarray:
    """[..., count] float64 of a normal distribution, by Box and Muller."""
    numbers = draw(use, 2 * math.ceil(count / 2))
    radius, angle = np.split(numbers, 2, -1)
    length, turn = np.sqrt(-2 * np.log(1 - radius)), 2 * math.pi * angle
    return np.concatenate([length * np.cos(turn), length * np.sin(turn)], -1)[..., :count]
