"""Archives of images in a folder, found by their names, and the images that lie beside them."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from shards.samples.image_header import IMAGE_ENDINGS
from shards.sources.walk import walk_files
from shards.terminal.counted import agreed, counted

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
ARCHIVE_ENDINGS = (*_TAR_ENDINGS, ".zip")
# Archives, too, but of formats that are not read here.
OTHER_ENDINGS = (".tar.zst", ".tzst", ".tar.lz4", ".tar.z", ".7z", ".rar")


def find_archives(folder: Path, endings: tuple[str, ...] = ARCHIVE_ENDINGS) -> list[Path]:
    """Files below a folder that are called like archives, at any depth, sorted."""
    return sorted(folder / n for n, e in walk_files(folder) if is_archive_name(e.name, endings))


def match_archives(spec: str) -> list[Path]:
    """A file, or what a glob matches of those that are called like archives, sorted."""
    if Path(spec).is_file():
        return [Path(spec)]
    matches = map(Path, glob.glob(spec))
    return sorted(p for p in matches if is_archive_name(p.name) and p.is_file())


def loose_notes(folder: Path) -> Iterator[str]:
    """A sentence about images that lie beside archives and are not read with them."""
    loose = sorted(
        name
        for name, entry in walk_files(folder)
        if os.path.splitext(entry.name)[1][1:].lower() in IMAGE_ENDINGS
    )
    if loose:
        lie = agreed(len(loose), "lies", "lie")
        yield (
            f"{counted(len(loose), 'image')} {lie} beside the archives of {folder} and stay out, "
            f"{loose[0]} first; move the archives elsewhere to pack them"
        )


def is_archive_name(name: str, endings: tuple[str, ...] = ARCHIVE_ENDINGS) -> bool:
    """Whether a file is called like an archive."""
    return name.lower().endswith(endings) and not name.startswith(".")
