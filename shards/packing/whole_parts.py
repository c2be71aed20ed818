"""The parts of a set, all there and of one make: what is asked before anything is joined."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import INDEX_DTYPE, PARTIAL_NAME
from shards.packing.conversions import Converted, read_conversions
from shards.packing.home import Home, State
from shards.packing.part import (
    Part,
    WholePart,
    name_parts,
    part_digest,
    parts_in,
    read_part,
    tell_difference,
)
from shards.packing.recut import PartTar
from shards.samples.quarantine import Refused, read_quarantine


@dataclass(frozen=True, slots=True)
class WholeParts:
    """All parts of a set."""

    home: Home
    parts: tuple[Part, ...]  # 1/N to N/N
    made: tuple[WholePart, ...]
    digests: tuple[str, ...]
    states: tuple[tuple[State, ...], ...]  # of the tars of each part

    @property
    def out(self) -> Path:
        """The folder of the home."""
        return self.home.folder

    @property
    def recipe(self) -> Mapping[str, object]:
        """What one process would note of the set."""
        return self.made[0].recipe

    @property
    def digest(self) -> str:
        """Changes when any part is another."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()

    def tars(self) -> list[PartTar]:
        """The tars of all parts, in packing order."""
        tars = []
        for part, made in zip(self.parts, self.made, strict=True):
            folder = part.folder(self.out)
            all_bounds: list[np.ndarray] | list[None] = [None] * len(made.shards)
            if made.bounds_sha256:
                all_bounds = _read_beside(folder, made, ".bounds", np.dtype(np.int64), 1)
                if _digest(all_bounds) != made.bounds_sha256:
                    raise _changed(folder, part, "other bounds of samples")
            for shard, bounds in zip(made.shards, all_bounds, strict=True):
                path = folder / PARTIAL_NAME / shard.name
                tars.append(PartTar(self.home, path, shard, str(part), bounds))
        return tars

    def records(self) -> np.ndarray:
        """The records [N] INDEX_DTYPE of all tars; raises DataError where they have changed."""
        found = [np.empty(0, INDEX_DTYPE)]
        for part, made in zip(self.parts, self.made, strict=True):
            folder = part.folder(self.out)
            records = _read_beside(folder, made, ".records", INDEX_DTYPE, 0)
            if _digest(records) != made.records_sha256:
                raise _changed(folder, part, "other records")
            found += records
        return np.concatenate(found)

    def lists(self) -> tuple[list[Refused], list[Converted]]:
        """The images that parts left out or converted, in packing order; raises DataError."""
        refused: list[Refused] = []
        converted: list[Converted] = []
        for part, made in zip(self.parts, self.made, strict=True):
            folder = part.folder(self.out)
            new = read_quarantine(folder), read_conversions(folder)
            if (len(new[0]), len(new[1])) != (made.num_refused, made.num_converted):
                raise _changed(folder, part, "another list of images left out or converted")
            refused += new[0]
            converted += new[1]
        return refused, converted

    def check_unchanged(self) -> None:
        """Raise DataError where a part is not what it was when this was read."""
        self.home.look()
        for part, made, digest, states in zip(
            self.parts, self.made, self.digests, self.states, strict=True
        ):
            folder = part.folder(self.out)
            if part_digest(folder) != digest or _states(self.home, folder, part, made) != states:
                raise _changed(folder, part, "another time of change meanwhile")


def read_whole_parts(home: Home) -> WholeParts:
    """All parts of OUT; nothing but their descriptions is read.

    Raises:
        UsageError: there are none, one is missing or not whole, or they are not of one make.
        DataError: one has changed since it was made.
    """
    out = home.folder
    parts = parts_in(out)
    if not parts:
        raise UsageError(
            f"--join takes the folder in which parts were made, got {out} without any; make them "
            f"with --part I/N"
        )
    for one, two in pairwise(parts):
        if one.of != two.of:
            raise UsageError(
                f"parts that are joined have one N, got {one} beside {two} in {out}, which would "
                f"overlap; remove {two.folder(out)} or make all with the same N"
            )
    whole = [(part, read_part(part.folder(out))) for part in parts]
    made = {part: found for part, found in whole if found is not None}
    needed = [Part(number, parts[0].of) for number in range(1, parts[0].of + 1)]
    missing = [part for part in needed if part not in made]
    if missing:
        begun = [part for part in missing if part in parts]
        told = f", of which {name_parts(begun)} was begun and goes on" if begun else ""
        raise UsageError(
            f"all parts are joined at once, got {len(made):,} of {len(needed):,} in {out}, without "
            f"{name_parts(missing)}; make what is missing with --part {missing[0]}{told}"
        )
    first = made[needed[0]]
    for part in needed:
        difference = tell_difference(first.recipe, made[part].recipe)
        if not difference and first.classes != made[part].classes:
            difference = "other classes"
        if difference:
            raise UsageError(
                f"parts that are joined have one source, the same options and versions, got part "
                f"{part} in {out} with {difference} ({needed[0]} and {part}); remove "
                f"{part.folder(out)} and make it again"
            )
    found = tuple(made[part] for part in needed)
    digests = tuple(part_digest(part.folder(out)) for part in needed)
    states = tuple(_states(home, part.folder(out), part, made[part]) for part in needed)
    return WholeParts(home, tuple(needed), found, digests, states)


def _read_beside(
    folder: Path, made: WholePart, ending: str, dtype: np.dtype, more: int
) -> list[np.ndarray]:
    """What lies beside the tars of a part, an item a sample and `more`; empty where it does not."""
    found = []
    for shard in made.shards:
        path = (folder / PARTIAL_NAME / shard.name).with_suffix(ending)
        content = path.read_bytes() if path.is_file() else b""
        is_whole = len(content) == (shard.num_samples + more) * dtype.itemsize
        found.append(np.frombuffer(content if is_whole else b"", dtype))
    return found


def _digest(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _states(home: Home, folder: Path, part: Part, made: WholePart) -> tuple[State, ...]:
    """What their home says of a part's tars; raises DataError where one has not its size."""
    states = []
    for shard in made.shards:
        state = home.state(folder / PARTIAL_NAME / shard.name)
        if state is None or state[0] != shard.size_bytes:
            raise _changed(folder, part, f"{shard.name} missing or of another size")
        states.append(state)
    return tuple(states)


def _changed(folder: Path, part: Part, what: str) -> DataError:
    return DataError(
        f"a part stays as it was made until it is joined, got {what} in {folder}; remove it and "
        f"make part {part} again"
    )
