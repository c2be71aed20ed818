"""The index of a mixture: several sets as one, each with a weight.

A set of N samples and weight w gives round(w N) of them to every epoch: all of them once for
weight 1, 30 % for 0.3, each twice for 2. What an epoch leaves out is next in the following ones, as
`mixed_order.py` says, so over epochs every sample comes equally often. Ids count on from set to
set, in the order given; the weights say nothing of what the samples are.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from shards.errors import DataError, UsageError
from shards.files import Files, open_files
from shards.format import INDEX_DTYPE
from shards.index import ShardIndex
from shards.mixture.class_union import ClassUnion
from shards.mixture.mixed_files import MixedFiles
from shards.mixture.mixed_order import MixedOrder
from shards.order import seed_of_set
from shards.remote.address import RemoteFolder
from shards.remote.several_folders import SeveralFolders
from shards.terminal.counted import counted

MAX_WEIGHT = 1000.0
# (position up to which, weights of the sets till then), in the order of positions.
FormerWeights = Sequence[tuple[int, Sequence[float]]]


def joint_fingerprint(fingerprints: Sequence[str]) -> str:
    """The fingerprint of sets in this order; of one set alone its own."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256(json.dumps(list(fingerprints)).encode()).hexdigest()


class MixedIndex(ShardIndex):
    """A table of the samples of several sets; records and manifests are those of its `parts`."""

    def __init__(
        self,
        parts: Sequence[ShardIndex],
        weights: Sequence[float],
        former: FormerWeights = (),
    ) -> None:
        """Put sets together; nothing is read.

        Args:
            parts: two sets or more, no two the same.
            weights: of each, in (0, 1000].
            former: the weights before, where a run has changed them.

        Raises:
            UsageError: a weight that is none, or gives no sample to an epoch; a set twice.
            DataError: an empty set, or classes that cannot be told apart.
        """
        self.parts = tuple(parts)
        self.weights = tuple(float(weight) for weight in weights)
        self.former = tuple((end, tuple(old)) for end, old in former)
        _check_parts(self.parts)
        self.quotas = self._quotas(self.weights)
        for _, old in self.former:
            self._quotas(old)
        self.directory = SeveralFolders(tuple(part.folder for part in parts))
        self.shards = tuple(shard for part in parts for shard in part.shards)
        self.class_union = ClassUnion(self.parts)
        self.classes = self.class_union.names
        self.fingerprint = joint_fingerprint([part.fingerprint for part in parts])
        self.first_ids = np.cumsum([0, *(len(part) for part in parts)])  # [S + 1] int64
        self._first_shards = np.cumsum([0, *(len(part.shards) for part in parts)])  # [S + 1] int64

    def __len__(self) -> int:
        """Samples of all sets, N."""
        return int(self.first_ids[-1])

    @property
    def epoch_samples(self) -> int:
        """Samples of an epoch, of all sets together."""
        return sum(self.quotas)

    def with_weights(self, weights: Sequence[float], former: FormerWeights = ()) -> "MixedIndex":
        """The same sets with other weights, and with a past."""
        return MixedIndex(self.parts, weights, former)

    def key(self, sample_id: int) -> str:
        """The sample's key in its set."""
        part = int(self._part_of(np.array([sample_id]))[0])
        return self.parts[part].key(sample_id - int(self.first_ids[part]))

    def names(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """The names of the samples' files; see `ShardIndex.names`."""
        ids = np.asarray(ids, np.int64)
        parts = self._part_of(ids)
        names = np.empty(len(ids), object)
        for part in np.unique(parts).tolist():
            now = parts == part
            names[now] = self.parts[part].names(ids[now] - self.first_ids[part])
        return names.tolist()

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Records of some samples, [B], with shards and classes as the mixture numbers them."""
        ids = np.asarray(ids)
        parts = self._part_of(ids)
        rows = np.empty(len(ids), INDEX_DTYPE)
        for part in np.unique(parts).tolist():
            now = parts == part
            own = self.parts[part].rows(ids[now] - self.first_ids[part])
            rows[now] = self._renumbered(part, own)
        return rows

    def chunk(self, first: int, end: int) -> np.ndarray:
        """As `rows` of the samples first to end-1."""
        pieces = []
        for part, start in enumerate(self.first_ids[:-1].tolist()):
            low, high = max(0, first - start), min(len(self.parts[part]), end - start)
            if low < high:
                own = self.parts[part].chunk(low, high).copy()
                if len(own) and int(own["shard"].max()) >= len(self.parts[part].shards):
                    self.parts[part].rows(np.arange(low, high))  # which says what is wrong
                pieces.append(self._renumbered(part, own))
        return np.concatenate(pieces) if pieces else np.empty(0, INDEX_DTYPE)

    def column(self, name: str) -> np.ndarray:
        """One field of every sample, [N]; not for shards and classes, whose numbers differ."""
        assert name not in ("shard", "label")
        return np.concatenate([part.column(name) for part in self.parts])

    def spread(self, number: int) -> np.ndarray:
        """Ids of about so many samples, of every set in its proportion to an epoch."""
        shares = [max(1, math.ceil(number * quota / self.epoch_samples)) for quota in self.quotas]
        pairs = zip(self.first_ids, self.parts, shares, strict=False)
        return np.concatenate([first + part.spread(share) for first, part, share in pairs])

    def shard_name(self, shard: int) -> str:
        """Folder and name: sets may call their shards alike."""
        part = int(np.searchsorted(self._first_shards, shard, side="right")) - 1
        return f"{self.parts[part].directory}/{self.shards[shard].name}"

    def windowed_order(self, seed: int, window_shards: int | None) -> MixedOrder:
        """The order in which every set goes through windows of so many of its own shards."""
        return MixedOrder(
            [
                part.windowed_order(seed_of_set(seed, number), window_shards)
                for number, part in enumerate(self.parts)
            ],
            self.quotas,
            num_shards=[len(part.shards) for part in self.parts],
            former=[(end, self._quotas(old)) for end, old in self.former],
        )

    def open_files(self) -> Files:
        """The bytes of all sets; remote ones share what their cache holds by their sizes."""
        remote = [isinstance(part.directory, RemoteFolder) for part in self.parts]
        sizes = [sum(shard.size_bytes for shard in part.shards) for part in self.parts]
        total = sum(size for size, is_remote in zip(sizes, remote, strict=True) if is_remote)
        files = [
            open_files(part.folder, part.manifest, size / total if total else 1.0)
            for part, size in zip(self.parts, sizes, strict=True)
        ]
        return MixedFiles(files, [len(part.shards) for part in self.parts])

    def __reduce__(self) -> tuple[Any, ...]:
        return MixedIndex, (self.parts, self.weights, self.former)

    def __repr__(self) -> str:
        weights = ", ".join(f"{weight:g}" for weight in self.weights)
        return (
            f"MixedIndex({self.directory}: {counted(len(self), 'sample')}, weights {weights}, "
            f"{self.epoch_samples:,} an epoch, {self.fingerprint[:12]})"
        )

    def _part_of(self, ids: np.ndarray) -> np.ndarray:
        if ids.size and not (0 <= ids.min() and ids.max() < len(self)):
            raise IndexError(
                f"sample ids must lie in [0, {len(self)}), got {ids.min()} to {ids.max()}"
            )
        return np.searchsorted(self.first_ids, ids, side="right") - 1

    def _renumbered(self, part: int, rows: np.ndarray) -> np.ndarray:
        rows["shard"] += np.uint32(self._first_shards[part])
        rows["label"] = self.class_union.renumber(part, rows["label"])
        return rows

    def _quotas(self, weights: Sequence[float]) -> tuple[int, ...]:
        if len(weights) != len(self.parts):
            raise UsageError(
                f"every set of a mixture has a weight, got {len(weights)} for {len(self.parts)} "
                "sets; give as many"
            )
        pairs = zip(self.parts, weights, strict=True)
        return tuple(epoch_share(len(part), weight, str(part.directory)) for part, weight in pairs)


def epoch_share(num_samples: int, weight: float, name: str) -> int:
    """Samples that a set gives to every epoch; UsageError where a weight gives none."""
    check_weight(weight, name)
    # Of the number as it is written: 0.1 is a tenth.
    share = math.floor(Fraction(str(weight)) * num_samples + Fraction(1, 2))
    if share < 1:
        raise UsageError(
            f"every set gives a sample to an epoch, got weight {weight:g} of the {num_samples:,} "
            f"in {name}; give at least {_rounded_up(1 / num_samples)}, or leave it out"
        )
    return share


def check_weight(weight: float, name: str) -> None:
    """UsageError for what is no weight of a set."""
    if not 0 < weight <= MAX_WEIGHT:
        raise UsageError(
            f"the weight of a set is the share of it in an epoch, above 0 and at most "
            f"{MAX_WEIGHT:g}, got {weight:g} for {name}; try 0.5, or leave the set out"
        )


def _check_parts(parts: Sequence[ShardIndex]) -> None:
    if len(parts) < 2:
        raise ValueError(f"a mixture has two sets or more, got {len(parts)}")
    seen: dict[str, ShardIndex] = {}
    for part in parts:
        assert not isinstance(part, MixedIndex), "a mixture of mixtures"
        if not len(part):
            raise DataError(
                f"every set of a mixture has samples, got none in {part.directory}; leave it out"
            )
        first = seen.setdefault(part.fingerprint, part)
        if first is not part:
            what = "twice" if first.directory == part.directory else f"and {part.directory}, alike"
            raise UsageError(
                f"a mixture has every set once, got {first.directory} {what}; give it the weight "
                f"2 in place of that: {first.directory}:2"
            )


def _rounded_up(number: float) -> str:
    """To two digits."""
    digits = 10 ** (1 - math.floor(math.log10(number)))
    return f"{math.ceil(number * digits) / digits:g}"
