"""A folder of tars on a disk: is it there, and which tars does it hold?"""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from shards.errors import DataError, UsageError
from shards.format import MANIFEST_NAME, PARTIAL_NAME, PARTS_NAME
from shards.remote.address import Location, RemoteFolder, remote_folder
from shards.sources.archive_names import find_archives, is_archive_name
from shards.tars.tar_names import is_tar_name


def local_folder(directory: Location) -> Path:
    """The folder as a path; UsageError for an address, DataError when it is not there."""
    if isinstance(directory, RemoteFolder) or remote_folder(directory):
        raise UsageError(
            f"this works on a local folder, got {remote_folder(directory)}; run it where the tars "
            f"lie on a disk"
        )
    folder = Path(directory)
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing there"
        remedy = "give the folder that holds the tars"
        if folder.exists() and is_archive_name(folder.name):
            remedy += f", or pack it: python -m tools.make_shards {shlex.quote(str(folder))} OUT"
        raise DataError(f"shards lie in a folder, got {folder} ({kind}); {remedy}")
    return folder


@dataclass(frozen=True, slots=True)
class TarState:
    """A disk's facts about a tar that is not read."""

    size_bytes: int
    modified_ns: int  # when its content was written, which copying tools may keep
    touched_ns: int  # also when it was renamed, copied, given to another; nobody can set it


def tar_states(folder: Path) -> dict[str, TarState]:
    """Name and state of every tar of a folder, sorted by name; raises DataError without any."""
    if (folder / PARTS_NAME).is_dir() and not (folder / MANIFEST_NAME).is_file():
        raise DataError(
            f"a set of shards is used when it is whole, got {folder}, whose parts are not joined; "
            f"when all are made: python -m tools.make_shards --join {shlex.quote(str(folder))}"
        )
    if (folder / PARTIAL_NAME).is_dir() and not (folder / MANIFEST_NAME).is_file():
        raise DataError(
            f"a set of shards is used when it is whole, got {folder}, where packing was "
            f"interrupted; repeat the make_shards command, it continues"
        )
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.is_file()]
            tars = {e.name: _state(e.stat()) for e in found if is_tar_name(e.name)}
    except OSError as error:
        raise DataError(f"{folder} must be readable, got {error.strerror}") from None
    if tars:
        return dict(sorted(tars.items()))
    remedy = "pack images with python -m tools.make_shards"
    if archives := find_archives(folder):
        remedy = f"pack them: python -m tools.make_shards {shlex.quote(str(folder))} OUT"
        if any(path.parent == folder for path in archives):
            remedy += "; or unpack the compressed ones: reading at random needs plain tars"
        else:
            remedy += f"; or give a folder that holds them, such as {archives[0].parent}"
    raise DataError(f"a folder of shards holds .tar files, got none in {folder}; {remedy}")


def _state(state: os.stat_result) -> TarState:
    return TarState(state.st_size, state.st_mtime_ns, state.st_ctime_ns)
