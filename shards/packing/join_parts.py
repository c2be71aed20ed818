"""Joins the parts of a set: every shard, the index and the lists as one process would have made.

    parts -> check (every byte) -> cut anew -> staging -> tars, index, manifest; then no parts

The shards grow in OUT/.partial, as those of any pack. A join that is killed at any moment leaves
the parts as they were, and the same command goes on; they are removed when the set is whole.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.errors import DataError, UsageError
from shards.format import PARTIAL_NAME, PARTS_NAME, Manifest
from shards.packing.conversions import read_conversions
from shards.packing.destination import check_out, same_set
from shards.packing.pack_report import PackReport
from shards.packing.part import parts_in
from shards.packing.recut import plan_cuts, sample_bounds, write_cut
from shards.packing.staging import FinishedShard, Staging, read_recipe
from shards.packing.whole_parts import WholeParts, read_whole_parts
from shards.processes.cluster import Cluster
from shards.processes.parallel import run_jobs, with_bar
from shards.samples.quarantine import read_quarantine
from shards.store import locked, read_manifest


def check_join(out: Path) -> WholeParts | Manifest:
    """All parts of OUT, or the manifest where it is a whole set already.

    Raises:
        UsageError: a part is missing or of another make; the line names it.
        DataError: a part has changed since it was made.
    """
    manifest = read_manifest(out) if out.is_dir() else None
    if manifest is not None and manifest.is_packed:
        return manifest
    parts = read_whole_parts(out)
    check_out(out, parts.recipe, overwrite=False)
    return parts


def held_out_recipe(found: WholeParts | Manifest) -> Mapping[str, object] | None:
    """What the other set of a hold-out says of itself; None where this is all there is."""
    recipe: Mapping[str, Any] = found.made if isinstance(found, Manifest) else found.recipe
    hold_out = recipe["options"].get("hold_out")
    if hold_out is None or hold_out["part"] == "held out":
        return None
    options = {**recipe["options"], "hold_out": {**hold_out, "part": "held out"}}
    return {**recipe, "options": options}


def join_parts(
    out: Path,
    *,
    workers: int | None = None,
    progress: bool = False,
    cluster: Cluster | None = None,
) -> PackReport:
    """Make the parts of OUT its set, or say that this has been done.

    Raises:
        UsageError: as `check_join`.
        DataError: a part has changed since it was made, no image is good, or OUT cannot be written.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    if isinstance(check_join(out), Manifest):
        return _complete(out)
    try:
        with locked(out):
            found = check_join(out)  # another process may have joined it while this one waited
            if isinstance(found, Manifest):
                return _complete(out)
            return _join(found, workers, progress, cluster)
    except OSError as error:
        raise DataError(
            f"{out} must be writable with room for the set beside its parts, got: "
            f"{error.strerror or error}; make room, the same command continues"
        ) from None


def _complete(out: Path) -> PackReport:
    """A set that is whole; parts of it that a killed join left are in it."""
    manifest = read_manifest(out)
    assert manifest is not None
    recipes = [read_recipe(part.folder(out)) for part in parts_in(out)]
    if all(recipe is None or same_set(manifest.made, recipe) for recipe in recipes):
        shutil.rmtree(out / PARTS_NAME, ignore_errors=True)
        shutil.rmtree(out / PARTIAL_NAME, ignore_errors=True)
    listed = tuple(read_quarantine(out)), tuple(read_conversions(out))
    return PackReport(out, manifest, *listed, was_complete=True, num_resumed=0)


def _join(
    parts: WholeParts, workers: int | None, progress: bool, cluster: Cluster | None
) -> PackReport:
    out, tars, records = parts.out, parts.tars(), parts.records()
    refused, converted = parts.lists()
    if not tars:
        first = f"; the first is {refused[0].name}: {refused[0].reason}" if refused else ""
        raise DataError(
            f"a set needs at least one good image, got none in the parts of {out}{first}"
        )
    sizes = [tar.info.size_bytes for tar in tars]
    who = {"workers": workers, "cluster": cluster}
    jobs = run_jobs(sample_bounds, tars, size_bytes=sum(sizes), **who)
    bounds = dict(with_bar(jobs, "checking", sizes, show=progress))
    options: Any = parts.recipe["options"]
    staging = Staging(out, {**parts.recipe, "joined": parts.digest})
    num_resumed = sum(shard.info.num_samples for shard in staging.finished)
    cuts = plan_cuts(
        staging.folder,
        options["name"],
        options["shard_size_bytes"],
        tars,
        [bounds[position] for position in range(len(tars))],
        records,
    )
    begun = len(staging.finished)
    sizes = [cut.size_bytes for cut in cuts[begun:]]
    written = run_jobs(write_cut, cuts[begun:], size_bytes=sum(sizes), **who)
    early = {}
    for position, info in with_bar(written, "joining", sizes, show=progress):
        early[begun + position] = info
        # The journal is read up to its first gap.
        while (number := len(staging.finished)) in early:
            staging.commit(FinishedShard(early.pop(number), cuts[number].records, number + 1, ()))
    parts.check_unchanged()
    made = {**parts.recipe, "source": parts.made[0].source}
    manifest = staging.publish(parts.made[0].classes, refused, converted, made)
    shutil.rmtree(out / PARTS_NAME, ignore_errors=True)
    listed = tuple(refused), tuple(converted)
    return PackReport(out, manifest, *listed, was_complete=False, num_resumed=num_resumed)
