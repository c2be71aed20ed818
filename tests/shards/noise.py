"""A source of small noise images and how the packing tests use it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shards.format import NO_LABEL
from shards.packing.pack import pack
from shards.packing.pack_report import PackReport
from shards.sources.raw import RawSample, fingerprint_of


@dataclass
class Noise:
    """A source of noise images; some numbers are bad."""

    size: int = 60
    bad: tuple[int, ...] = ()
    classes: tuple[str, ...] = ("x", "y", "z")
    stores_names: bool = True
    block_sizes: np.ndarray | None = None
    kind: str = "noise"
    notes: tuple[str, ...] = ()
    asked: list[int] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"n/{number}.png" for number in range(self.size)]

    @property
    def labels(self) -> np.ndarray:
        numbers = np.arange(self.size, dtype=np.int32)
        return numbers % 3 if self.classes else np.full_like(numbers, NO_LABEL)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of([str(self.size), str(self.bad)])

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> RawSample:
        self.asked.append(number)
        if number in self.bad:
            return RawSample(f"n/{number}.png", number % 3, b"torn")
        pixels = np.random.default_rng(number).integers(0, 256, (12, 9, 3), dtype=np.uint8)
        return RawSample(f"n/{number}.png", number % 3 if self.classes else NO_LABEL, pixels)


def pack_small(source: Noise, out: Path, **options: object) -> PackReport:
    """Several small shards, in this process."""
    return pack(source, out, **({"shard_size_bytes": 40_960, "workers": 1} | options))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
