"""Squares of one colour a class, drawn in the worker."""

from functools import partial

import numpy as np

from shards.sources.raw import RawSample, fingerprint_of

SIDE_PX = 24


class Squares:
    """SOURCE is how many: `squares:48`."""

    kind = "squares"
    classes = ("dark", "light")
    names = None
    stores_names = False
    block_sizes = None
    notes = ("drawn, not read",)

    def __init__(self, spec: str, split: str | None = None) -> None:
        self._count = int(spec.partition(":")[2])
        self._seed = 1 if split == "test" else 0
        self.labels = np.arange(self._count, dtype=np.int32) % 2
        self.fingerprint = fingerprint_of([spec, str(self._seed)])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> RawSample:
        return RawSample(f"{number}", number % 2, partial(_draw, self._seed, number))


class Lambdas(Squares):
    """Its samples cannot go to another process."""

    def __getitem__(self, number: int) -> RawSample:
        return RawSample(f"{number}", 0, lambda: _draw(0, number))


class Unlabelled(Squares):
    """Its labels are of another length."""

    @property
    def labels(self):
        return np.zeros(1, np.int32)

    @labels.setter
    def labels(self, _) -> None:
        return None


def _draw(seed: int, number: int) -> np.ndarray:
    rng = np.random.default_rng([seed, number])
    return rng.integers(128 * (number % 2), 128 * (1 + number % 2), (SIDE_PX, SIDE_PX, 3), np.uint8)
