"""Features that are done so far, in parts of so many images: what a stopped command goes on from.

    FEATURES.parts/facts.json          of which encoder, views and set: others' are refused
    FEATURES.parts/part-000007.npy     rows of images [7 P, 8 P), without those that are unreadable
    FEATURES.parts/near10-000007.npy   their 10 nearest images

A part is whole or absent, and does not depend on who made it or when.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import atomic_file, remove_leftovers, write_whole
from shards.errors import DataError, UsageError
from shards.index import ShardIndex

FACTS = "facts.json"
# What may differ between commands that make the same features: names of places, and what is made
# of the features afterwards.
_NAMES = ("encoder", "data", "neighbours")


@dataclass(frozen=True, slots=True)
class FeatureParts:
    """The folder of the parts."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def num_parts(self) -> int:
        """Parts that all images make."""
        return -(-self.facts["images"] // self.facts["part_images"])

    def ids(self, part: int) -> range:
        """The images of a part."""
        size = self.facts["part_images"]
        return range(part * size, min((part + 1) * size, self.facts["images"]))

    def prepare(self, *, overwrite: bool) -> None:
        """Make the folder, or go on in it; only one process may.

        Raises:
            UsageError: it holds parts of other features.
            DataError: it cannot be written.
        """
        path = self.folder / FACTS
        try:
            if overwrite and self.folder.is_dir():
                shutil.rmtree(self.folder)
            if path.is_file():
                self._refuse_others(path)
            elif self.folder.exists() and any(self.folder.iterdir()):
                raise UsageError(
                    f"features are made in {self.folder}, got other files there; name another --out"
                )
            self.folder.mkdir(exist_ok=True)
            remove_leftovers(self.folder)
            write_whole(path, json.dumps(self.facts, indent=1))
        except OSError as error:
            raise DataError(
                f"--out lies in a folder that may be written, got {error.strerror} for "
                f"{self.folder}; name another"
            ) from error

    def missing(self, neighbours: int = 0) -> list[int]:
        """Parts that are not there yet: of features, or of so many neighbours."""
        return [n for n in range(self.num_parts) if not self.path(n, neighbours).is_file()]

    def path(self, part: int, neighbours: int = 0) -> Path:
        """The file of a part."""
        kind = f"near{neighbours}" if neighbours else "part"
        return self.folder / f"{kind}-{part:06d}.npy"

    def write(self, part: int, rows: np.ndarray, neighbours: int = 0) -> None:
        """Write a part, whole or not at all."""
        with atomic_file(self.path(part, neighbours)) as file:
            np.save(file, rows, allow_pickle=False)

    def read(self, part: int, neighbours: int = 0) -> np.ndarray:
        """Map a part; DataError when it is not what was written."""
        path = self.path(part, neighbours)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"a part of features is a whole file of this command, got {path} ({error}); delete "
                "it and type the command again"
            ) from error

    def remove(self) -> None:
        """Delete all of it, once the features are written elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def of_attempt(self, attempt: str) -> "FeatureParts":
        """Those of an attempt at a part, in a folder of its own in this one."""
        return replace(self, folder=self.folder / f"attempt-{attempt}")

    def _refuse_others(self, path: Path) -> None:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if odd := differences(self.facts, found):
            raise UsageError(
                f"features that were begun are gone on with by the same encoder and set, got "
                f"{self.folder} with another {odd}; type what began it, begin anew with "
                "--overwrite, or name another --out"
            )


def differences(ours: Mapping[str, Any], theirs: Any) -> str:
    """Facts by which features are others', in words; empty for the same features."""
    if not isinstance(theirs, Mapping):
        return "description"
    return ", ".join(
        f"{key} ({_short(theirs.get(key))}, not {_short(value)})"
        for key, value in ours.items()
        if key not in _NAMES and theirs.get(key) != value
    )


def rows_of(index: ShardIndex, ids: np.ndarray, features: np.ndarray) -> np.ndarray:
    """[N] records of images and their features [N, D]."""
    records = index.rows(ids)
    columns: dict[str, np.ndarray] = {
        "id": ids.astype(np.int64),
        "name": _bytes(index.names(ids)),
        "key": _bytes(index.keys(ids)),
        "shard": _bytes([index.shards[shard].name for shard in records["shard"].tolist()]),
        "label": index.labels(ids),
    }
    fields: list[Any] = [(name, column.dtype.str) for name, column in columns.items()]
    fields.append(("features", features.dtype.str, features.shape[1:]))
    rows = np.empty(len(ids), fields)
    for name, column in columns.items():
        rows[name] = column
    rows["features"] = features
    return rows


def _bytes(texts: list[str]) -> np.ndarray:
    """[N] UTF-8; at least one byte wide, as numpy wants it."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    return np.array(encoded or [b""], f"S{max(1, *map(len, encoded), 1)}")[: len(encoded)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}..."
