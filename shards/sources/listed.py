"""A source as a list has it: only the files that it names, or under the classes that it gives.

The list is read by `image_lists.py`; an image that it does not name stays, without a class.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.samples.image_header import ImageError
from shards.samples.labels import Label, NoLabel, label_from_text, number_classes, tell_unlabelled
from shards.sources.image_lists import ImageList, ListedLine, NameTable, read_list
from shards.sources.raw import RawSample, Source, blocks_of, fingerprint_of, masks_of
from shards.terminal.counted import counted


class ListedSource:
    """Some samples of a source, in its order, under classes from elsewhere."""

    def __init__(
        self,
        source: Source,
        chosen: np.ndarray,  # [N] int64 - numbers of the source, ascending
        labels: np.ndarray,  # [N] int32
        classes: tuple[str, ...],
        notes: tuple[str, ...],
    ) -> None:
        self.kind, self.stores_names = source.kind, source.stores_names
        self.masks = masks_of(source)
        self.classes, self.labels = classes, labels
        self.notes = (*source.notes, *notes)
        names: Sequence[str] = source.names or ()
        self.names = [str(names[number]) for number in chosen.tolist()]
        self.fingerprint = fingerprint_of(
            [
                source.fingerprint,
                *classes,
                *(sha256(x.tobytes()).hexdigest() for x in (chosen, labels)),
            ]
        )
        self.block_sizes = blocks_of(source, chosen)
        self._source, self._chosen = source, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> RawSample:
        sample = self._source[int(self._chosen[number])]
        return replace(sample, label=int(self.labels[number]))


def take_listed(source: Source, files: Path) -> Source:
    """Only the files that a list names, each once.

    Raises:
        UsageError: the source has no files, the list cannot be read, or names some that are not
            there.
    """
    table = _table(source, "--files", files)
    listed = read_list(files, table)
    missing = [line for line in listed.lines if line.image is None]
    if missing:
        raise UsageError(
            f"--files names files of SOURCE, got {len(missing):,} of {len(listed.lines):,} that "
            f"are not there, {_told(missing[0], listed)} first; mend the list or check SOURCE"
        )
    numbers = [line.image for line in listed.lines if line.image is not None]
    chosen = np.unique(np.array(numbers, np.int64))
    notes = [
        f"{files}: it names {len(chosen):,} of {counted(len(source), 'image')}; the others stay out"
    ]
    if len(numbers) > len(chosen):
        repeated = len(numbers) - len(chosen)
        notes.append(f"{files}: {repeated:,} lines repeat a name; each image is packed once")
    return ListedSource(source, chosen, source.labels[chosen], source.classes, tuple(notes))


def label_listed(source: Source, labels: Path, label_column: str | None = None) -> Source:
    """All images of a source, under the classes that a list gives.

    Raises:
        UsageError: the source has no files, the list cannot be read, names none of the images, has
            no classes, or has an image twice.
        DataError: a class number that no index can hold.
    """
    table = _table(source, "--labels", labels)
    listed = read_list(labels, table, label_column)
    lines = [line for line in listed.lines if line.image is not None]
    if not lines:
        raise UsageError(
            f"--labels names images of SOURCE, a line each with its class, got none of "
            f"{len(source):,} in {labels}, whose first line is for {listed.lines[0].name!r} and "
            f"whose first image would be {table.name(0)!r}; check both paths"
        )
    if not listed.label_column:
        raise UsageError(
            f"--labels has a class beside each name, got names alone in {labels}; --files takes "
            f"such a list"
        )
    num_repeated = _count_repeated(lines, listed, table)
    found: list[Label | NoLabel] = [NoLabel(f"not in {labels.name}")] * len(source)
    for line in lines:
        assert line.image is not None
        found[line.image] = _class_of(line, listed)
    numbers, classes = number_classes([None if isinstance(x, NoLabel) else x for x in found])
    notes = [f"classes from {labels}, {listed.label_column}"]
    if len(classes) > max(2, len(lines) // 2):
        notes.append(
            f"there are {counted(len(classes), 'class')} for {counted(len(lines), 'image')}; if "
            "another column of the list has the classes, name it with --label-column"
        )
    unlabelled = tell_unlabelled(
        Counter(x.why for x in found if isinstance(x, NoLabel)), len(found)
    )
    notes += [unlabelled] if unlabelled else []
    if num_repeated:
        notes.append(f"{num_repeated:,} of {len(listed.lines):,} lines repeat a name and its class")
    unmatched = [line for line in listed.lines if line.image is None]
    if unmatched:
        notes.append(
            f"{len(unmatched):,} of {len(listed.lines):,} lines of {labels} name no image here, "
            f"{_told(unmatched[0], listed)} first"
        )
    if (numbers == NO_LABEL).all():
        raise UsageError(f"--labels has a class beside each name, got none in {labels}; fill it in")
    return ListedSource(source, np.arange(len(source)), numbers, classes, tuple(notes))


def _table(source: Source, option: str, path: Path) -> NameTable:
    if source.names is None:
        raise UsageError(
            f"{option} is for sources of files, which have names, got {path} for a source of kind "
            f"{source.kind}; leave it out"
        )
    return NameTable(source.names)


def _count_repeated(lines: list[ListedLine], listed: ImageList, table: NameTable) -> int:
    """Lines that say what an earlier one said; UsageError where they say something else."""
    first: dict[int, ListedLine] = {}
    others, num_repeated = [], 0
    for line in lines:
        assert line.image is not None
        before = first.setdefault(line.image, line)
        num_repeated += before is not line
        if before.label != line.label:
            others.append((line, before))
    if others:
        line, before = others[0]
        assert line.image is not None
        raise UsageError(
            f"--labels gives each image one class, got another one in {len(others):,} of the lines "
            f"that repeat a name: {table.name(line.image)} in lines {before.number} and "
            f"{line.number} of {listed.path}; keep one of them"
        )
    return num_repeated


def _class_of(line: ListedLine, listed: ImageList) -> Label | NoLabel:
    try:
        text = (line.label or "").encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8: two names could become one
        raise DataError(
            f"a list of images is a text in UTF-8, got a class in another encoding in line "
            f"{line.number} of {listed.path}; save it as CSV (UTF-8)"
        ) from None
    try:
        return label_from_text(text)
    except ImageError as error:
        raise DataError(f"in line {line.number} of {listed.path}: {error}; mend it") from None


def _told(line: ListedLine, listed: ImageList) -> str:
    return f"{line.name!r} (line {line.number})"
