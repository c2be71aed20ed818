"""The destination of a pack: what lies in OUT already, and whether a new set may go there.

This is asked before anything is written. A set is known by what made it: the tool, the fingerprint
of the source and the options that change the bytes. Nothing that this tool did not write is ever
removed.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import INDEX_DTYPE, PACKER, Manifest
from shards.indexing.changes import doubts_about, first_other
from shards.indexing.tar_folder import tar_states
from shards.packing.home import DiskHome, Home
from shards.packing.part import tell_difference
from shards.packing.staging import has_finished_shards, read_recipe
from shards.store import cache_folder, read_manifest


def check_apart(spec: str, out: Path) -> None:
    """Refuse an OUT inside SOURCE, where the next run would take its shards for images.

    Raises:
        UsageError: it lies there.
    """
    source = Path(spec)
    if source.is_dir() and source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(
            f"OUT must lie outside of SOURCE, got {out} inside {source}; name another folder"
        )


def check_out(home: Home, recipe: Mapping[str, object], *, overwrite: bool) -> Manifest | None:
    """Whether a home may receive a set made with `recipe`; its manifest when it is there already.

    Raises:
        UsageError: it holds something else: another set, one that is being made, foreign files.
        DataError: it cannot be read.
    """
    out = home.folder
    if overwrite and not home.renames:
        raise UsageError(
            f"--overwrite replaces a set of a disk, got {home.where}, where it would be gone "
            f"before the new one is whole; name another OUT, or remove that one first"
        )
    if out.exists() and not out.is_dir():
        raise UsageError(f"OUT must be a folder, got the file {out}; name another")
    manifest = read_manifest(out) if out.is_dir() else None
    if manifest is not None:
        return _check_whole(home, manifest, recipe, overwrite)
    unfinished = read_recipe(out)
    is_other = unfinished is not None and not same_set(unfinished, recipe)
    if is_other and has_finished_shards(out) and not overwrite:
        raise UsageError(
            f"OUT holds an unfinished set of another source or other options, got {home.where}; "
            f"repeat the command that began it, name another OUT, or {_instead(home, 'drop')}"
        )
    if unfinished is not None and not is_other and has_finished_shards(out) and not overwrite:
        versions = {"versions": unfinished.get("versions")}
        if difference := tell_difference(versions, {"versions": recipe["versions"]}):
            raise UsageError(
                f"an unfinished set goes on with the versions that began it, got {home.where} with "
                f"{difference}; install the first ones, name another OUT, or "
                f"{_instead(home, 'drop')}"
            )
    if unfinished is None:
        _check_empty(home)
    return None


def same_set(made: Mapping[str, object], recipe: Mapping[str, object]) -> bool:
    """Whether a manifest's `made` says the same source and options; versions may differ."""
    return all(made.get(key) == recipe[key] for key in ("tool", "fingerprint", "options"))


def _check_whole(
    home: Home, manifest: Manifest, recipe: Mapping[str, object], overwrite: bool
) -> Manifest | None:
    out = home.folder
    if not manifest.is_packed:
        raise UsageError(
            f"OUT must be a new folder or one made by {PACKER}, got {out}, whose tars came from "
            f"elsewhere; name another"
        )
    if overwrite:
        return None
    if not same_set(manifest.made, recipe):
        raise UsageError(
            f"OUT holds a set of another source or other options, got {home.where}, made from "
            f"{manifest.made.get('source')}; name another OUT, or {_instead(home, 'replace')}"
        )
    for shard in manifest.shards:
        path = out / shard.name
        state = home.state(path)
        if state is None or state[0] != shard.size_bytes:
            raise DataError(
                f"a finished set never changes, got {path} missing or of another size; restore it, "
                f"or make the set anew with --overwrite"
            )
    if not isinstance(home, DiskHome):
        return manifest  # its readers compare what the server says of each tar
    doubts = doubts_about([out, cache_folder(out)], manifest, tar_states(out))
    # Of hashed tars no record is looked at.
    other = first_other(out, manifest, np.empty(0, INDEX_DTYPE), doubts) if doubts else None
    if other:
        raise DataError(
            f"a finished set never changes, got {other} in {out}; restore it, or make the set anew "
            f"with --overwrite"
        )
    return manifest


def _instead(home: Home, what: str) -> str:
    return f"{what} it with --overwrite" if home.renames else "remove it first"


def _check_empty(home: Home) -> None:
    found = [name for name in home.names() if not name.startswith(".")]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise UsageError(
            f"OUT must be new, empty or made by {PACKER}, got {home.where} with {found[0]}{more}; "
            f"name another folder"
        )
