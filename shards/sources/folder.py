"""A folder of images: the first folder level is the class, deeper levels are only order.

    SOURCE/dog/1.jpg, SOURCE/cat/more/2.png   classes cat, dog
    SOURCE/1.jpg, SOURCE/2.jpg                no labels

Files are known by their path inside the folder, sorted, so that the same folder elsewhere is the
same source. What is an image is told by the ending here and by the content later.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shards.errors import UsageError
from shards.format import NO_LABEL
from shards.samples.image_header import IMAGE_ENDINGS, PHOTO_ENDINGS
from shards.sources.foreign import advise_folder
from shards.sources.layout import check_classes, check_parts, layout_notes, split_folder
from shards.sources.raw import RawSample, fingerprint_of
from shards.sources.walk import is_folder, is_special, list_folder, walk_files, walk_notes
from shards.terminal.counted import counted

_PACKED_ENDINGS = frozenset(".tar .tgz .tbz .tbz2 .txz .gz .bz2 .xz .zst .zip .7z .rar".split())
_TABLE_ENDINGS = frozenset((".parquet", ".parq", ".pq"))


class FolderSource:
    """Images below a folder, labelled by the first folder level."""

    kind = "folder"
    stores_names = True
    block_sizes = None

    def __init__(self, root: Path, split: str | None = None, *, own_classes: bool = True) -> None:
        self._root = root if split is None else split_folder(root, _folders(root), split)
        left_out: Counter[str] = Counter()
        found, skipped = _list_images(self._root, left_out)
        if not found:
            seen = f"only {_told(skipped)}" if skipped else "no file at all"
            raise UsageError(
                f"a folder of images holds files such as .jpg or .png, got {seen} in {self._root}; "
                f"{advise_folder(skipped)}"
            )
        self._names = [name for name, _ in found]
        self.names = [_printable(name) for name in self._names]
        check_parts(self._root, self.names)
        self.notes = (*skipped_notes(skipped), *walk_notes(left_out))
        self.classes: tuple[str, ...] = ()
        self.labels = np.full(len(found), NO_LABEL, np.int32)
        if own_classes:
            check_classes(self._root, self.names)
            self.classes, self.labels = _label(self._names, self._root)
            self.notes += tuple(layout_notes(self._root, self.names))
        self.fingerprint = fingerprint_of(f"{name}\0{size}" for name, size in found)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> RawSample:
        path = self._root / self._names[number]
        # A bound method: the file is read in the worker.
        return RawSample(self.names[number], int(self.labels[number]), path.read_bytes)


def _folders(root: Path) -> list[str]:
    entries = list_folder(root)
    return sorted(entry.name for entry in entries if is_folder(entry) and entry.name[0] != ".")


def _list_images(root: Path, left_out: Counter[str]) -> tuple[list[tuple[str, int]], Counter[str]]:
    """Sorted (path inside root, bytes) of the images, and how many other files by ending."""
    found: list[tuple[str, int]] = []
    skipped: Counter[str] = Counter()
    for name, entry in walk_files(root, left_out):
        ending = os.path.splitext(entry.name)[1].lower()
        if is_special(entry):
            skipped["pipes or devices"] += 1
        elif ending[1:] in IMAGE_ENDINGS:
            found.append((name, _size(entry)))
        else:
            skipped[ending or "without an ending"] += 1
    return sorted(found), skipped


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nothing: refused by name when it is packed
        return -1


def _label(names: list[str], root: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and the label of each file; a flat folder has none."""
    tops = [name.split("/", 1)[0] if "/" in name else None for name in names]
    classes = tuple(sorted({top for top in tops if top is not None}))
    if classes and None in tops:
        loose = names[tops.index(None)]
        raise UsageError(
            f"images lie either all in class folders or all beside each other, got both {loose} "
            f"and {classes[0]}/ in {root}; move the loose ones into a folder"
        )
    number = {name: i for i, name in enumerate(classes)}
    labels = [NO_LABEL if top is None else number[top] for top in tops]
    return tuple(_printable(name) for name in classes), np.array(labels, np.int32)


def skipped_notes(skipped: Counter[str]) -> Iterator[str]:
    """Sentences about files left out: photographs that could be had, and other files."""
    photos = Counter({k: n for k, n in skipped.items() if k[1:] in PHOTO_ENDINGS})
    if photos:
        yield f"skipped, not read here: {_told(photos)}; convert them to JPEG or PNG to pack them"
    packed = Counter({k: n for k, n in skipped.items() if k in _PACKED_ENDINGS})
    if packed:
        yield f"skipped, packed: {_told(packed)}; unpack them, or pack them by their own names"
    tables = Counter({k: n for k, n in skipped.items() if k in _TABLE_ENDINGS})
    if tables:
        yield (
            f"skipped, as tables beside the images: {_told(tables)}; name the file to pack what is "
            "in it, or give classes with --labels, which takes CSV and text"
        )
    if others := skipped - photos - packed - tables:
        yield f"skipped, as no images: {_told(others)}"


def _told(skipped: Counter[str]) -> str:
    """The most frequent endings first, equals by name: the same on every machine."""
    ranked = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count} {ending}" for ending, count in ranked[:4]]
    rest = sum(count for _, count in ranked[4:])
    return ", ".join([*told, counted(rest, "other")] if rest else told)


def _printable(name: str) -> str:
    """File names may hold bytes that are no text; what is stored and printed is."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
