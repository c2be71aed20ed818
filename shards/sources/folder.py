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

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.image import IMAGE_ENDINGS, PHOTO_ENDINGS
from shards.sources.raw import RawSample, fingerprint_of

_PACKED_ENDINGS = frozenset(
    ".tar .tgz .tbz .tbz2 .txz .gz .bz2 .xz .zst .zip .7z .rar .parquet".split()
)
SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing")


class FolderSource:
    """Images below a folder, labelled by the first folder level."""

    kind = "folder"
    stores_names = True
    block_sizes = None

    def __init__(self, root: Path, split: str | None = None) -> None:
        self._root = _choose_split(root, split)
        found, skipped = _list_images(self._root)
        if not found:
            seen = f"only {_told(skipped)}" if skipped else "no file at all"
            raise UsageError(
                f"a folder of images holds files such as .jpg or .png, got {seen} in {self._root}; "
                f"check the path"
            )
        self._names = [name for name, _ in found]
        self.classes, self._labels = _label(self._names, self._root)
        self.fingerprint = fingerprint_of(f"{name}\0{size}" for name, size in found)
        self.notes = tuple(skipped_notes(skipped))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> RawSample:
        name = self._names[number]
        # A bound method: the file is read in the worker.
        return RawSample(_printable(name), self._labels[number], (self._root / name).read_bytes)


def _choose_split(root: Path, split: str | None) -> Path:
    """The folder itself, or its split; a folder of splits must not become classes train and val."""
    entries = (entry for entry in root.iterdir() if not entry.name.startswith("."))
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    splits = [name for name in folders if name.lower() in SPLIT_NAMES]
    if split is not None:
        if split not in folders:
            raise UsageError(
                f"--split names a folder inside SOURCE, got {split!r}, and {root} has "
                f"{', '.join(folders[:5]) or 'none'}; leave it out to take the whole folder"
            )
        return root / split
    if splits and splits == folders:
        raise UsageError(
            f"SOURCE must be one split, got {root} with {', '.join(splits)}; give "
            f"{root / splits[0]}, or --split {splits[0]}"
        )
    return root


def _list_images(root: Path) -> tuple[list[tuple[str, int]], Counter[str]]:
    """Sorted (path inside root, bytes) of the images, and how many other files by ending."""
    found: list[tuple[str, int]] = []
    skipped: Counter[str] = Counter()
    pending = [""]
    while pending:
        folder = pending.pop()
        for entry in _entries(root / folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            ending = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if not _leads_back(entry):
                    pending.append(name)
            elif ending[1:] in IMAGE_ENDINGS:
                found.append((name, _size(entry)))
            else:
                skipped[ending or "without an ending"] += 1
    return sorted(found), skipped


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"every folder of SOURCE must be readable, got {folder} ({error.strerror}); mend its "
            f"permissions or move it away"
        ) from None


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is a link to one that contains it."""
    if not entry.is_symlink():
        return False
    here = Path(entry.path).parent.resolve()
    return Path(entry.path).resolve() in (here, *here.parents)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nothing: refused by name when it is packed
        return -1


def _label(names: list[str], root: Path) -> tuple[tuple[str, ...], list[int]]:
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
    return tuple(_printable(name) for name in classes), labels


def skipped_notes(skipped: Counter[str]) -> Iterator[str]:
    """What was left out: photographs that could be had, and files that are none."""
    photos = Counter({k: n for k, n in skipped.items() if k[1:] in PHOTO_ENDINGS})
    if photos:
        yield f"skipped, not read here: {_told(photos)}; convert them to JPEG or PNG to pack them"
    packed = Counter({k: n for k, n in skipped.items() if k in _PACKED_ENDINGS})
    if packed:
        yield f"skipped, packed: {_told(packed)}; unpack them, or pack them by their own names"
    if others := skipped - photos - packed:
        yield f"skipped, as no images: {_told(others)}"


def _told(skipped: Counter[str]) -> str:
    """The most frequent endings first, equals by name: the same on every machine."""
    ranked = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count} {ending}" for ending, count in ranked[:4]]
    rest = sum(count for _, count in ranked[4:])
    return ", ".join([*told, f"{rest} others"] if rest else told)


def _printable(name: str) -> str:
    """File names may hold bytes that are no text; what is stored and printed is."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
