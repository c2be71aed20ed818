"""Attempts at a part: each in a folder of its own, of which exactly one becomes the part.

A cluster hands a part to another machine when one seems lost, and what seems lost may still be
writing. So nobody on a cluster writes to a name that another may write to. An attempt takes over
the shards that earlier ones have finished, which nobody changes any more; the one whose result
comes back gets the part's name, by a rename, from the process that waits for it.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from shards.format import PARTIAL_NAME, PARTS_NAME
from shards.packing.part import Part, read_part
from shards.packing.staging import finished_names, read_recipe


def begin_attempt(out: Path, part: Part, token: str, recipe: Mapping[str, object]) -> Path:
    """A folder for an attempt, with the finished shards of the one before that has most."""
    folder = attempt_folder(out, part, token)
    folder.mkdir(parents=True)
    earlier = [part.folder(out), *_attempts(out, part)]
    same = [one for one in earlier if one != folder and read_recipe(one) == recipe]
    if same:
        _take_over(max(same, key=lambda one: len(finished_names(one))), folder)
    return folder


def attempt_folder(out: Path, part: Part, token: str) -> Path:
    """The place of an attempt."""
    return out / PARTS_NAME / f"attempt-{part.number:05d}-of-{part.of:05d}-{token}"


def accept_attempt(out: Path, part: Part, token: str) -> None:
    """Make an attempt the part, if nothing whole has its name, and remove the others."""
    folder, made = part.folder(out), attempt_folder(out, part, token)
    if made.is_dir() and read_part(folder) is None:
        if folder.exists():  # begun by hand
            os.rename(folder, attempt_folder(out, part, f"{token}-former"))
        os.rename(made, folder)
    for other in _attempts(out, part):
        shutil.rmtree(other, ignore_errors=True)


def _attempts(out: Path, part: Part) -> list[Path]:
    name = re.escape(attempt_folder(out, part, "").name)
    folders = (out / PARTS_NAME).glob("attempt-*")
    return sorted(path for path in folders if re.match(name, path.name))


def _take_over(source: Path, folder: Path) -> None:
    """Link what is finished; it may go away at any moment."""
    (folder / PARTIAL_NAME).mkdir()
    with contextlib.suppress(FileNotFoundError):
        for name in finished_names(source):
            _link(source / PARTIAL_NAME / name, folder / PARTIAL_NAME / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # of a disk that has no links
        shutil.copyfile(source, target)
