"""Makes one part of a set, in a folder that all who make parts can see.

A part is packed as a set is, shard by shard with a journal, and goes on where it was killed. Its
shards are of a cut of its own: where those of the whole set begin follows from the sizes of all
images before, so `join_parts.py` cuts them when every part is there.
"""

import contextlib
import hashlib
import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import QUARANTINE_NAME, Manifest
from shards.packing.attempts import begin_attempt
from shards.packing.conversions import CONVERTED_NAME, read_conversions, write_conversions
from shards.packing.destination import check_out
from shards.packing.home import Home
from shards.packing.pack_report import PackReport
from shards.packing.pack_run import PackRun, SetToPack
from shards.packing.part import (
    PART_NAME,
    Part,
    WholePart,
    name_parts,
    parts_in,
    read_part,
    tell_difference,
    write_part,
)
from shards.packing.staging import Staging, has_finished_shards, read_recipe
from shards.samples.quarantine import read_quarantine, write_quarantine
from shards.store import locked, read_manifest


def check_part(home: Home, recipe: Mapping[str, object], part: Part) -> Manifest | None:
    """Whether a part of this set may be made in OUT; the manifest where the set is whole already.

    Raises:
        UsageError: OUT holds something else: another set, or parts that would not fit to this.
    """
    out = home.folder
    manifest = check_out(home, recipe, overwrite=False)
    if manifest is not None:
        return manifest
    for other in parts_in(out):
        if other.of != part.of:
            raise UsageError(
                f"all parts of a set have the same N, got --part {part} for {out} with part "
                f"{other}; give the N of the others, or remove {other.folder(out).parent}"
            )
        made = read_recipe(other.folder(out))
        difference = tell_difference(made, recipe) if made is not None else ""
        if difference:
            raise UsageError(
                f"all parts of a set have one source, the same options and versions, got --part "
                f"{part} for {out} where part {other} has {difference}; repeat the command of the "
                f"others, name another OUT, or remove {other.folder(out)} to make that one again"
            )
    if has_finished_shards(out) and "joined" not in (read_recipe(out) or {}):
        raise UsageError(
            f"parts go to a folder of parts, got {out}, where a pack in one go was interrupted; "
            f"repeat the command that began it, or name another OUT"
        )
    return None


def check_no_parts(home: Home) -> None:
    """Refuse to pack in one go where parts lie that are not joined; raises UsageError."""
    out = home.folder
    if (parts := parts_in(out)) and read_manifest(out) is None:
        raise UsageError(
            f"OUT holds parts of a set, got {out} with {name_parts(parts)}; make the rest with "
            f"--part and join them with --join {shlex.quote(str(out))}, or name another OUT"
        )


def pack_part(wanted: SetToPack, part: Part, attempt: str | None) -> PackReport:
    """Make a part whole, or say that it is; `check_part` agreed.

    With an `attempt` (`attempts.py`) it is made under another name, and is not in its place yet.

    Raises:
        DataError: a bad image where `wanted` stops at one, or a part that cannot be read.
        OSError: OUT cannot be written.
    """
    source, home, recipe = wanted.source, wanted.home, wanted.recipe
    out, folder = home.folder, part.folder(home.folder)
    if attempt is not None and home.renames and read_part(folder) is None:
        folder = begin_attempt(out, part, attempt, recipe)
    with locked(folder, make=True):
        whole = read_part(folder)  # another process may have made it while this one waited
        num_resumed = 0
        if was_complete := whole is not None:
            refused, converted = read_quarantine(folder), read_conversions(folder)
        else:
            staging = Staging(folder, recipe, home)
            run = PackRun(wanted, staging, part)
            try:
                run.fill()
            except DataError:  # given up: nothing of it stays, and of OUT nothing that is empty
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()
                    out.rmdir()
                raise
            refused, converted, num_resumed = run.refused, run.converted, run.num_resumed
            whole = WholePart(
                recipe,
                wanted.spec or source.kind,
                tuple(source.classes),
                tuple(shard.info for shard in staging.finished),
                _sha256_of([shard.records for shard in staging.finished]),
                len(refused),
                len(converted),
                _sha256_of([shard.bounds for shard in staging.finished]),
            )
            write_quarantine(folder, refused)
            write_conversions(folder, converted)
            write_part(folder, whole)
            for name in (QUARANTINE_NAME, CONVERTED_NAME, PART_NAME):  # this one last
                if (folder / name).exists():
                    home.send(folder / name)
    return PackReport(
        folder,
        Manifest(whole.shards, whole.classes, whole.recipe),
        tuple(refused),
        tuple(converted),
        was_complete,
        num_resumed,
        part=part,
    )


def _sha256_of(arrays: Sequence[np.ndarray | None]) -> str:
    """Of all of them, one after the other; empty where one is not known."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            return ""
        digest.update(array.tobytes())
    return digest.hexdigest()
