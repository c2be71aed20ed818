"""Joins the parts of a set: every shard, the index and the lists as one process would have made.

    parts -> check (every byte) -> cut anew -> staging -> tars, index, manifest; then no parts

The shards grow in OUT/.partial, as those of any pack. A join that is killed at any moment leaves
the parts as they were, and the same command goes on; they are removed when the set is whole.
"""

from collections.abc import Mapping
from typing import Any

from shards.errors import DataError, UsageError
from shards.format import PARTIAL_NAME, PARTS_NAME, Manifest
from shards.packing.bucket_home import open_home
from shards.packing.conversions import read_conversions
from shards.packing.destination import check_out, same_set
from shards.packing.home import Home
from shards.packing.pack_report import PackReport
from shards.packing.part import parts_in
from shards.packing.recut import plan_cuts, sample_bounds, write_cut
from shards.packing.staging import FinishedShard, Staging, read_recipe
from shards.packing.whole_parts import WholeParts, read_whole_parts
from shards.processes.cluster import Cluster
from shards.processes.parallel import run_jobs, with_bar
from shards.remote.address import Location
from shards.samples.quarantine import read_quarantine
from shards.store import locked, read_manifest


def check_join(home: Home) -> WholeParts | Manifest:
    """All parts of a home, or the manifest where it is a whole set already.

    Raises:
        UsageError: a part is missing or of another make; the line names it.
        DataError: a part has changed since it was made.
    """
    manifest = read_manifest(home.folder) if home.folder.is_dir() else None
    if manifest is not None and manifest.is_packed:
        return manifest
    parts = read_whole_parts(home)
    check_out(home, parts.recipe, overwrite=False)
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
    out: Location,
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
    try:
        with open_home(out) as home:
            if isinstance(check_join(home), Manifest):
                return _complete(home)
            with locked(home.folder):
                found = check_join(home)  # another may have joined it while this one waited
                if isinstance(found, Manifest):
                    return _complete(home)
                return _join(found, workers, progress, cluster)
    except OSError as error:
        raise DataError(
            f"{out} must be writable with room for the set beside its parts, got: "
            f"{error.strerror or error}; make room, the same command continues"
        ) from None


def _complete(home: Home) -> PackReport:
    """A set that is whole; parts of it that a killed join left are in it."""
    out = home.folder
    manifest = read_manifest(out)
    assert manifest is not None
    recipes = [read_recipe(part.folder(out)) for part in parts_in(out)]
    if all(recipe is None or same_set(manifest.made, recipe) for recipe in recipes):
        home.remove([out / PARTS_NAME, out / PARTIAL_NAME])
    listed = tuple(read_quarantine(out)), tuple(read_conversions(out))
    return PackReport(home.where, manifest, *listed, was_complete=True, num_resumed=0)


def _join(
    parts: WholeParts, workers: int | None, progress: bool, cluster: Cluster | None
) -> PackReport:
    home, out, tars, records = parts.home, parts.out, parts.tars(), parts.records()
    refused, converted = parts.lists()
    if not tars:
        first = f"; the first is {refused[0].name}: {refused[0].reason}" if refused else ""
        raise DataError(
            f"a set needs at least one good image, got none in the parts of {home.where}{first}"
        )
    sizes = [tar.info.size_bytes for tar in tars]
    who = {"workers": workers, "cluster": cluster}
    jobs = run_jobs(sample_bounds, tars, size_bytes=sum(sizes), **who)
    bounds = dict(with_bar(jobs, "checking", sizes, show=progress))
    options: Any = parts.recipe["options"]
    staging = Staging(out, {**parts.recipe, "joined": parts.digest}, home)
    num_resumed = sum(shard.info.num_samples for shard in staging.finished)
    cuts = plan_cuts(
        home,
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
    for position, made in with_bar(written, "joining", sizes, show=progress):
        home.accept(cuts[begun + position].path, made.token)
        early[begun + position] = made.info
        # The journal is read up to its first gap.
        while (number := len(staging.finished)) in early:
            staging.commit(FinishedShard(early.pop(number), cuts[number].records, number + 1, ()))
    parts.check_unchanged()
    made = {**parts.recipe, "source": parts.made[0].source}
    manifest = staging.publish(parts.made[0].classes, refused, converted, made)
    home.remove([out / PARTS_NAME])
    listed = tuple(refused), tuple(converted)
    return PackReport(home.where, manifest, *listed, was_complete=False, num_resumed=num_resumed)
