"""Packs a source into a set of shards: shuffled, encoded, indexed, all or nothing.

    source -> order(seed) -> encode (processes) -> ShardWriter -> staging -> tars, index, manifest

The result is a pure function of the source's content and the options; how many workers there were
and how often it was interrupted leave no trace in the bytes.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

from shards.errors import DataError, UsageError
from shards.format import MAX_IMAGE_PIXELS, PARTIAL_NAME
from shards.indexing.local_index import index_anew
from shards.packing.bucket_home import open_home
from shards.packing.conversions import read_conversions
from shards.packing.destination import check_out
from shards.packing.holdout import HoldOut
from shards.packing.home import DiskHome
from shards.packing.pack_part import check_no_parts, check_part, pack_part
from shards.packing.pack_report import PackReport
from shards.packing.pack_run import PackRun, SetToPack
from shards.packing.pack_settings import PackOptions
from shards.packing.part import Part
from shards.packing.staging import Staging
from shards.processes.parallel import usable_cores
from shards.remote.address import Location, located
from shards.samples.quarantine import read_quarantine
from shards.sources.raw import Source
from shards.store import locked, map_records

DEFAULT_SHARD_BYTES = 256 << 20
ON_BAD = ("quarantine", "fail")


def pack(
    source: Source,
    out: Location,
    *,
    name: str = "train",
    shard_size_bytes: int = DEFAULT_SHARD_BYTES,
    resize: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    on_bad: str = "quarantine",
    limit: int | None = None,
    skip: int = 0,
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS,
    hold_out: HoldOut | None = None,
    held_out: Location | None = None,
    overwrite: bool = False,
    progress: bool = False,
    spec: str = "",
    part: Part | None = None,
    attempt: str | None = None,
) -> PackReport:
    """Pack every image of a source, or say that this has been done.

    Args:
        source: from `sources.detect.open_source`.
        out: a new or empty folder, or one with the same set, whole or unfinished; or such an
            address in a bucket.
        name: shards are called NAME-000000.tar and so on.
        shard_size_bytes: upper bound of a tar; one image that is larger gets a tar of its own.
        resize: shrink images to this short side in pixels, never enlarge.
        workers: processes; None takes one a core.
        seed: of the order in which samples are spread over the shards.
        on_bad: "quarantine" leaves bad images out and lists them, "fail" stops at the first.
        limit: pack only this many samples, drawn at random by `seed`.
        skip: leave out as many, those that `limit` would draw with the same seed: what one set
            holds out, the other does not have.
        value_range: values of black and white in images of over 8 bits a value; None takes the
            range of their format, and leaves out those whose format has none.
        max_pixels: of the largest image that is decoded at its full size, to be shrunk by `resize`.
            A JPEG is decoded at a half or less, and has no such bound.
        hold_out: of what `limit` and `skip` leave, how much goes into a second set (holdout.py),
            so that every image is in exactly one.
        held_out: the folder of the second set, as new as `out`.
        overwrite: replace another set in `out`, once the new one is whole.
        progress: show a bar on stderr.
        spec: what the user called the source; noted in the manifest.
        part: make only this part of the set; `join_parts` makes it one. Replaces nothing.
        attempt: a name of this attempt at the part, which `accept_attempt` then puts in its place.

    Raises:
        UsageError: an option out of range, or `out` holds something else.
        DataError: no image is good, a bad one with on_bad="fail", or `out` cannot be written.
    """
    options = PackOptions(
        name, shard_size_bytes, resize, seed, limit, skip, value_range, max_pixels, hold_out
    )
    workers = usable_cores() if workers is None else workers
    if workers < 1 or on_bad not in ON_BAD:
        raise UsageError(
            f"workers must be at least 1 and on_bad one of {', '.join(ON_BAD)}, got {workers} "
            f"and {on_bad!r}"
        )
    if part is not None and overwrite:
        raise UsageError(
            f"a part replaces nothing, got --overwrite with --part {part}; name a new OUT, or "
            f"remove the set that is there"
        )
    if (hold_out is None) != (held_out is None):
        raise ValueError("hold_out and held_out are given together; got one of them")
    places = [(out, options)]
    if hold_out is not None and held_out is not None:
        _check_two(out, held_out)
        places.append((held_out, replace(options, hold_out=hold_out.other())))
    with ExitStack() as stack:
        sets = []
        for place, chosen in places:
            home = stack.enter_context(open_home(place, brief=True, part=part))
            sets.append(SetToPack(source, home, chosen, workers, on_bad == "fail", progress, spec))
        for one in sets:  # all of them before anything is written
            one.options.check(source)
            if part is not None:
                check_part(one.home, one.recipe, part)
            else:
                check_no_parts(one.home)
                check_out(one.home, one.recipe, overwrite=overwrite)
        reports = [_pack(one, part, attempt, overwrite=overwrite) for one in sets]
    return replace(reports[0], held_out=reports[1]) if len(reports) > 1 else reports[0]


def _check_two(out: Location, held_out: Location) -> None:
    first, second = (
        folder.resolve() if isinstance(folder, Path) else PurePosixPath(folder.url)
        for folder in (located(out), located(held_out))
    )
    if first == second or first in second.parents or second in first.parents:
        raise UsageError(
            f"the held-out set lies in a folder of its own, got {held_out} for {out}; name another"
        )


def _pack(one: SetToPack, part: Part | None, attempt: str | None, *, overwrite: bool) -> PackReport:
    source, home, recipe = one.source, one.home, one.recipe
    out = home.folder
    try:
        if part is not None and not check_part(home, recipe, part):
            return pack_part(one, part, attempt)
        check_out(home, recipe, overwrite=overwrite)
        with locked(out, make=True):
            # Another process may have packed it while this one waited.
            existing = check_out(home, recipe, overwrite=overwrite)
            if existing is not None:
                home.remove([out / PARTIAL_NAME])
                if isinstance(home, DiskHome) and map_records(out, existing.num_samples) is None:
                    index_anew(out)
                listed = tuple(read_quarantine(out)), tuple(read_conversions(out))
                return PackReport(home.where, existing, *listed, was_complete=True, num_resumed=0)
            run = PackRun(one, Staging(out, recipe, home))
            run.fill()
            made = {**recipe, "source": one.spec or source.kind}
            manifest = run.staging.publish(source.classes, run.refused, run.converted, made)
    except OSError as error:
        raise DataError(
            f"{home.where} must be writable with room for the set, got: {error.strerror or error}; "
            f"make room or name another folder, the same command continues"
        ) from None
    listed = tuple(run.refused), tuple(run.converted)
    return PackReport(
        home.where, manifest, *listed, was_complete=False, num_resumed=run.num_resumed
    )
