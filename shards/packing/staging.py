"""The folder in which a set grows until it is whole: OUT/.partial, journalled shard by shard.

A finished shard is moved in together with its records and a journal entry; the journal entry is
what counts. `publish` moves everything to OUT, the manifest last. So a pack that is killed at any
moment leaves either a whole set, or one without a manifest and with `.partial` beside it, which
readers refuse and the same command continues. Each file is sent home (`home.py`) when it is whole.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shards.atomic import write_whole
from shards.errors import DataError
from shards.format import (
    INDEX_DTYPE,
    INDEX_NAME,
    MANIFEST_NAME,
    PARTIAL_NAME,
    QUARANTINE_NAME,
    TIMES_NAME,
    Manifest,
    ShardInfo,
)
from shards.packing.conversions import CONVERTED_NAME, Conversion, Converted, write_conversions
from shards.packing.home import DiskHome, Home
from shards.samples.quarantine import Refused, write_quarantine
from shards.store import read_manifest, write_index

_RECIPE_NAME = "recipe.json"
_SHARD_FILES = (".tar", ".records", ".bounds", ".json")  # in the order in which they come


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """A shard of the journal."""

    info: ShardInfo
    records: np.ndarray  # [N] INDEX_DTYPE
    next_position: int  # of the packing order: where the next shard starts
    refused: tuple[Refused, ...]  # images left out since the shard before
    converted: tuple[Converted, ...] = ()  # images of this shard that lost something
    bounds: np.ndarray | None = None  # [N + 1] int64 - of its samples, where it is to be cut


class Staging:
    """The unfinished part of a set in `out`, made with `recipe`."""

    def __init__(self, out: Path, recipe: Mapping[str, object], home: Home | None = None) -> None:
        """Continue what lies there with the same recipe, or begin (`destination.py` agreed).

        Args:
            out: the folder of a home, or one in it.
            recipe: the identity of the set.
            home: of the set; None is a disk's.
        """
        self._out, self._home = out, home or DiskHome(out)
        self.folder = out / PARTIAL_NAME
        self._recipe = recipe
        self.finished: list[FinishedShard] = []
        if read_recipe(out) == recipe:
            self._resume()
        else:
            self._take_back()
            # Not `out` itself, though it be empty: its lock is held.
            self._home.remove([self.folder])
            self.folder.mkdir(parents=True)
            self._write(self.folder / _RECIPE_NAME, json.dumps(recipe).encode())

    def commit(self, shard: FinishedShard) -> None:
        """Add a shard whose tar is already in `folder`."""
        stem = self.folder / shard.info.name
        if stem.exists():  # whoever cut it may have sent it
            self._home.send(stem)
        self._write(stem.with_suffix(".records"), shard.records.tobytes())
        if shard.bounds is not None:
            self._write(stem.with_suffix(".bounds"), shard.bounds.tobytes())
        journal = {
            "shard": asdict(shard.info),
            "next_position": shard.next_position,
            "refused": [asdict(item) for item in shard.refused],
            "converted": [asdict(item) for item in shard.converted],
        }
        self._write(stem.with_suffix(".json"), json.dumps(journal).encode())
        self.finished.append(shard)

    def publish(
        self,
        classes: Sequence[str],
        refused: Sequence[Refused],
        converted: Sequence[Converted],
        made: Mapping[str, object],
    ) -> Manifest:
        """Make the shards the set of `out`, in place of the one that lies there.

        Raises:
            DataError: a shard is not there, or not what was packed.
        """
        self._check_there()
        _remove_set(self._out)
        for shard in self.finished:
            staged = self.folder / shard.info.name
            if staged.exists():  # it is in `out` already when a move was interrupted
                os.replace(staged, self._out / shard.info.name)
        for number, shard in enumerate(self.finished):
            shard.records["shard"] = number
        write_quarantine(self._out, sorted(refused, key=lambda item: item.name))
        write_conversions(self._out, sorted(converted, key=lambda item: item.name))
        manifest = Manifest(tuple(shard.info for shard in self.finished), tuple(classes), made)
        records = np.concatenate([shard.records for shard in self.finished])
        manifest = write_index(self._out, records, manifest)
        for name in (QUARANTINE_NAME, CONVERTED_NAME, INDEX_NAME, MANIFEST_NAME):  # this one last
            if (self._out / name).exists():
                self._home.send(self._out / name)
        self._clear()
        return manifest

    def drop(self) -> None:
        """Remove the unfinished part, and `out` when that leaves it empty."""
        self._home.remove([self.folder / shard.info.name for shard in self.finished])
        self._clear()

    def _clear(self) -> None:
        self._home.remove([self.folder])
        with contextlib.suppress(OSError):
            self._out.rmdir()

    def _write(self, path: Path, content: bytes) -> None:
        write_whole(path, content)
        self._home.send(path)

    def _check_there(self) -> None:
        self._home.look()
        for shard in self.finished:
            if not self._is_there(shard.info):
                raise DataError(
                    f"a set is published when all of its shards are there, got {shard.info.name} "
                    f"missing or of another size in {self._out}; repeat the command"
                )

    def _is_there(self, info: ShardInfo) -> bool:
        """In `out` already, when a move was interrupted."""
        states = [self._home.state(folder / info.name) for folder in (self.folder, self._out)]
        return any(state is not None and state[0] == info.size_bytes for state in states)

    def _take_back(self) -> None:
        """Remove what an interrupted `publish` of another set had moved to `out` already."""
        if read_manifest(self._out) is not None:
            return
        names = [journal.with_suffix(".tar").name for journal in _journals(self.folder)]
        if not self._home.renames:
            # Sent before its journal was.
            former = (read_recipe(self._out) or {}).get("options", {}).get("name")
            shard = re.compile(rf"{re.escape(str(former))}-\d{{6,}}\.tar")
            names += [name for name in self._home.names() if shard.fullmatch(name)]
        self._home.remove([self._out / name for name in names])

    def _resume(self) -> None:
        """Read the journal as far as it is whole, and clear away what came after."""
        kept = {_RECIPE_NAME}
        for journal in _journals(self.folder):
            shard = self._read_shard(journal)
            if shard is None:
                break
            self.finished.append(shard)
            kept |= {journal.with_suffix(end).name for end in _SHARD_FILES}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _read_shard(self, journal: Path) -> FinishedShard | None:
        content = _read_json(journal)
        if content is None:
            return None
        info = ShardInfo(**content["shard"])
        if not self._is_there(info):
            return None
        records = np.fromfile(journal.with_suffix(".records"), dtype=INDEX_DTYPE)
        refused = tuple(Refused(**item) for item in content["refused"])
        converted = tuple(
            Converted(item["name"], Conversion(**item["conversion"]))
            for item in content.get("converted", ())
        )
        path = journal.with_suffix(".bounds")
        bounds = np.fromfile(path, dtype=np.int64) if path.is_file() else None
        return FinishedShard(info, records, content["next_position"], refused, converted, bounds)


def read_recipe(out: Path) -> dict | None:
    """The recipe of the unfinished set in `out`, None when there is none."""
    return _read_json(out / PARTIAL_NAME / _RECIPE_NAME)


def has_finished_shards(out: Path) -> bool:
    """Whether the unfinished set in `out` is worth keeping."""
    return bool(_journals(out / PARTIAL_NAME))


def finished_names(out: Path) -> list[str]:
    """The files of `.partial` that an unfinished set goes on from, each before those that need it.

    None of them changes any more.
    """
    journals = _journals(out / PARTIAL_NAME)
    paths = [journal.with_suffix(end) for journal in journals for end in _SHARD_FILES]
    return [_RECIPE_NAME, *(path.name for path in paths if path.exists())]


def _journals(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.name != _RECIPE_NAME)


def _remove_set(out: Path) -> None:
    """Remove the set a manifest describes, the manifest last; then nothing, when called again."""
    manifest = read_manifest(out)
    if manifest is None:
        return
    for shard in manifest.shards:
        (out / shard.name).unlink(missing_ok=True)
    names = (TIMES_NAME, INDEX_NAME, QUARANTINE_NAME, CONVERTED_NAME)
    for name in (*names, MANIFEST_NAME):
        (out / name).unlink(missing_ok=True)


def _read_json(path: Path) -> dict | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
