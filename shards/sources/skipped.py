"""A source without the images that a skip list names: `make_shards.py --skip-list FILE`."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np

from shards.errors import UsageError
from shards.samples.skip_list import SkipLine, SkipList
from shards.sources.image_lists import NameTable
from shards.sources.raw import RawSample, Source, blocks_of, fingerprint_of, masks_of
from shards.terminal.counted import agreed, counted


class SkippedSource:
    """The others of a source, in its order and its blocks."""

    def __init__(self, source: Source, kept: np.ndarray, note: str) -> None:
        self.kind, self.stores_names, self.classes = (
            source.kind,
            source.stores_names,
            source.classes,
        )
        self.labels, self.masks = source.labels[kept], masks_of(source)
        names = source.names
        self.names = None if names is None else [str(names[number]) for number in kept.tolist()]
        self.fingerprint = fingerprint_of([source.fingerprint, sha256(kept.tobytes()).hexdigest()])
        self.notes = (*source.notes, note)
        self.block_sizes = blocks_of(source, kept)
        self._source, self._kept = source, kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, number: int) -> RawSample:
        sample = self._source[int(self._kept[number])]
        return replace(sample, label=int(self.labels[number]))


def leave_out(source: Source, skip: SkipList, also_known: Sequence[str] | None = None) -> Source:
    """The source without the images of a list.

    Args:
        source: what is to be packed.
        skip: the list.
        also_known: names of images that are out already, which it may name, too.

    Raises:
        UsageError: the list names what is not there, or several images at once, or all.
    """
    if not skip.lines:
        return source
    if source.names is None:
        numbers = [_number(line, len(source)) for line in skip.lines]
    else:
        numbers = find_names(skip, source.names)
    lost = [line for line, number in zip(skip.lines, numbers, strict=True) if number is None]
    if lost and also_known is not None:
        others = NameTable(also_known)
        lost = [line for line in lost if not others.find(line.name)]
    if lost:
        raise UsageError(tell_lost("--skip-list", "SOURCE", skip, lost))
    is_kept = np.ones(len(source), bool)
    is_kept[[number for number in numbers if number is not None]] = False
    kept = np.flatnonzero(is_kept)
    if not len(kept):
        raise UsageError(f"--skip-list leaves images to pack, got {skip.path} with all of them")
    left_out = len(source) - len(kept)
    note = (
        f"{skip.path}: {left_out:,} of {counted(len(source), 'image')} "
        f"{agreed(left_out, 'is', 'are')} left out"
    )
    return SkippedSource(source, kept, note)


def find_names(skip: SkipList, names: Sequence[str]) -> list[int | None]:
    """The image that each line names, None for none; UsageError where it may be several."""
    table = NameTable(names)
    found: list[int | None] = []
    for line in skip.lines:
        meant = table.find(line.name)
        if len(meant) > 1:
            raise UsageError(
                f"a line of a skip list names one image, got {line.name!r} in line {line.number} "
                f"of {skip.path}, which is {names[meant[0]]} and {names[meant[1]]}; write more of "
                "the path"
            )
        found.append(meant[0] if meant else None)
    return found


def tell_lost(option: str, where: str, skip: SkipList, lost: Sequence[SkipLine]) -> str:
    """That a list names images which are not there."""
    return (
        f"{option} names images of {where}, got {len(lost):,} of {len(skip.lines):,} lines of "
        f"{skip.path} that name none, {lost[0].name!r} (line {lost[0].number}) first; mend the list"
    )


def _number(line: SkipLine, num_samples: int) -> int | None:
    """Of a source without names: its packed samples are known by their key, which is the number."""
    is_number = line.name.isascii() and line.name.isdecimal() and int(line.name) < num_samples
    return int(line.name) if is_number else None
