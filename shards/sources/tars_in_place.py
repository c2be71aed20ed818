"""Existing WebDataset tars as SOURCE: without an OUT they are indexed where they lie.

With one they are packed anew (archive.py), which is how they are shrunk or split.
"""

import glob
from pathlib import Path

from shards.errors import UsageError
from shards.tars.tar_names import is_tar_name, tars_of

_GLOB_CHARACTERS = "*?["


def find_tars_in_place(spec: str, out: str | None) -> Path | None:
    """The folder of tars to be indexed where it is: SOURCE, where OUT is no other folder.

    Raises:
        UsageError: as `find_tar_folder`.
    """
    path = Path(spec)
    folder = path if path.is_dir() else path.parent
    if out is not None and folder.resolve() != Path(out).resolve():
        return None
    return find_tar_folder(spec)


def find_tar_folder(spec: str) -> Path | None:
    """The folder of tars that SOURCE means, None when it means something else.

    Args:
        spec: a folder with `.tar` files directly in it, or a glob such as `data/train-*.tar`. An
            index is of a whole folder, so a glob has to match every tar of it.

    Raises:
        UsageError: a glob that matches nothing, or only some of the tars, or in several folders.
    """
    path = Path(spec)
    if path.is_dir():
        return path if tars_of(path) else None
    if path.exists() or not spec.endswith(".tar"):
        return None
    if not any(character in spec for character in _GLOB_CHARACTERS):
        return None
    matches = [match for match in map(Path, sorted(glob.glob(spec))) if is_tar_name(match.name)]
    if not matches:
        raise UsageError(f"a glob must match tars, got none for {spec}; check the path")
    folders = {match.parent for match in matches}
    tars = {tar for folder in folders for tar in tars_of(folder)}
    if len(folders) > 1 or tars != set(matches):
        raise UsageError(
            f"a folder of tars is indexed as a whole, got {spec}, which matches {len(matches)} of "
            f"{len(tars)} tars in {len(folders)} folders; link the ones you want into a folder"
        )
    return matches[0].parent
