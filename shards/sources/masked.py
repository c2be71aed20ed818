"""A source whose images have masks in a folder beside it: `make_shards.py --masks DIR`.

The mask of `dog/1.jpg` is `DIR/dog/1.png` or `DIR/dog/1.mask.png`. An image without one is packed
without one.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shards.errors import UsageError
from shards.samples.masks import MASK_EXTENSION
from shards.sources.raw import RawSample, Source, fingerprint_of, masks_of
from shards.terminal.counted import agreed, counted

_ENDINGS = (".png", f".{MASK_EXTENSION}")


class MaskedSource:
    """The same images in the same order, some with a mask."""

    def __init__(self, source: Source, folder: Path, root: Path | None = None) -> None:
        """Find the masks by the names of the images.

        Args:
            source: the images.
            folder: the masks.
            root: the folder of the images, where they lie in one.

        Raises:
            UsageError: no folder, a source whose images have no names, no mask of any, or masks
                that are images of the source, too.
        """
        if not folder.is_dir():
            raise UsageError(f"--masks is a folder of PNGs, got {folder}; make one: {_MAKE}")
        names = source.names
        if names is None:
            raise UsageError(
                f"--masks finds masks by the names of files, got SOURCE of kind {source.kind} "
                f"without names; pack a folder of images"
            )
        self.kind, self.classes, self.labels = source.kind, source.classes, source.labels
        self.names, self.stores_names = names, source.stores_names
        self.block_sizes = source.block_sizes
        self._source = source
        self._paths = [_mask_of(folder, name) for name in names]
        found = [path for path in self._paths if path is not None]
        if not found:
            expected = f"{os.path.splitext(names[0])[0]}.png" if len(names) else "NAME.png"
            raise UsageError(
                f"--masks holds a PNG of the name of each image, such as {expected}, got none that "
                f"fits in {folder}; name the folder that mirrors SOURCE, or make one: {_MAKE}"
            )
        if root is not None:
            _check_apart(names, found, root.resolve(), folder)
        self.masks = fingerprint_of(
            f"{name}\0{'' if path is None else path.stat().st_size}"
            for name, path in zip(names, self._paths, strict=True)
        )
        self.fingerprint = fingerprint_of([source.fingerprint, self.masks])
        if inner := masks_of(source):  # of an image that has none in the folder
            self.masks = fingerprint_of([inner, self.masks])
        self.notes = (
            *source.notes,
            f"{folder}: {len(found):,} of {counted(len(names), 'image')} "
            f"{agreed(len(found), 'has', 'have')} a mask",
        )

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: int) -> RawSample:
        path = self._paths[number]
        sample = self._source[number]
        # A bound method: the file is read in the worker.
        return sample if path is None else replace(sample, mask=path.read_bytes)


_MAKE = "python -m tools.make_masks SOURCE DIR"


def _check_apart(names: Sequence[str], found: Sequence[Path], root: Path, folder: Path) -> None:
    """Refuse masks that would be packed as images."""
    if root not in (folder.resolve(), *folder.resolve().parents):
        return
    images = {root / name for name in names}
    both = [path for path in found if path.resolve() in images]
    if both:
        raise UsageError(
            f"masks lie outside of SOURCE, got {len(both):,} in {folder} that would be packed as "
            f"images, too, {both[0]} first; move them into a folder of their own, or name the "
            f"images with --files"
        )


def _mask_of(folder: Path, name: str) -> Path | None:
    there = list(_places(folder, name))
    if len(there) > 1:
        raise UsageError(
            f"an image has one mask, got {there[0]} and {there[1]} for {name}; remove one"
        )
    return there[0] if there else None


def _places(folder: Path, name: str) -> Iterator[Path]:
    # Of several archives a name begins with that of its own: `a.zip:dog/1.jpg`.
    stem = os.path.splitext(name)[0]
    for ending in _ENDINGS:
        path = folder / f"{stem}{ending}"
        if ".." not in path.parts and path.is_file():
            yield path
