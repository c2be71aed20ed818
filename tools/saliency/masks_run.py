"""Makes a mask for each image of a source, and goes on where a run was stopped.

A mask is written whole or not at all, so what is there is done. Bad images are listed beside the
masks. Worker processes read, decode and look; each has a method of its own.
"""

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from shards.atomic import write_whole
from shards.errors import UsageError
from shards.packing.pack_bar import images_bar
from shards.packing.transcode import decode_rgb
from shards.packing.transcode_mask import encode_mask
from shards.plugins.making import find_class, make
from shards.processes.workers import WorkerPool
from shards.samples.image_header import ImageError
from shards.samples.quarantine import Refused, write_quarantine
from shards.sources.raw import RawSample, Source

METHODS = {"spectral": "tools.saliency.spectral_residual:SpectralResidual"}
_RECORD_NAME = "masks.json"  # which method made the masks of a folder
_AHEAD_PER_WORKER = 16
Job = tuple[RawSample, Path, str]  # image, where its mask goes, by which method


@dataclass(frozen=True, slots=True)
class MasksReport:
    """What a run did."""

    num_made: int
    num_there: int  # before it
    foreground: float  # mean share of the pixels, of those made
    refused: tuple[Refused, ...]


def make_masks(source: Source, out: Path, method: str, workers: int) -> MasksReport:
    """Make the masks that are not there yet; a bar is shown on a terminal.

    Raises:
        UsageError: no such method or one that gives something else, images without names or with
            one for two, or a folder with masks by another method.
    """
    find_class("saliency", method, METHODS, has=("__call__",))
    places = mask_places(source, out)
    _claim(out, method)
    wanted = [number for number, place in enumerate(places) if not place.exists()]
    jobs = ((source[number], places[number], method) for number in wanted)
    shares, refused = [], []
    with images_bar(progress=True) as bar:
        task = bar.add_task("masks", total=len(places), completed=len(places) - len(wanted))
        for result in _results(jobs, min(workers, max(1, len(wanted)))):
            refused.append(result) if isinstance(result, Refused) else shares.append(result)
            bar.advance(task)
    write_quarantine(out, sorted(refused, key=lambda item: item.name))
    mean = float(np.mean(shares)) if shares else 0.0
    return MasksReport(len(shares), len(places) - len(wanted), mean, tuple(refused))


def mask_places(source: Source, out: Path) -> list[Path]:
    """The file of each image's mask: DIR/dog/1.png of dog/1.jpg."""
    names = source.names
    if names is None:
        raise UsageError(
            f"masks are named like the files of SOURCE, got kind {source.kind} without names; give "
            "a folder of images"
        )
    places: dict[Path, str] = {}
    for name in names:
        place = out / f"{os.path.splitext(name)[0]}.png"
        if ".." in place.parts or os.path.isabs(name):
            raise UsageError(f"an image lies inside SOURCE, got {name}; give it another name")
        other = places.setdefault(place, name)
        if other is not name:
            raise UsageError(
                f"two images need two masks, got {other} and {name}, which differ in the ending "
                "alone; rename one"
            )
    return list(places)


def _claim(out: Path, method: str) -> None:
    """Note the method in the folder; UsageError where another one made what lies there."""
    path = out / _RECORD_NAME
    if path.exists():
        try:
            former = json.loads(path.read_text(encoding="utf-8"))["method"]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            former = "an unknown method"
        if former != method:
            raise UsageError(
                f"the masks of a folder are by one method, got --method {method} for {out} with "
                f"masks by {former}; name another DIR"
            )
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"masks go to a folder, got the file {out}; name another")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"method": method}).encode())


def _results(jobs: Iterator[Job], workers: int) -> Iterator[float | Refused]:
    if workers == 1:
        yield from map(_make, jobs)
        return
    pending: deque[Future[float | Refused]] = deque()
    pool = WorkerPool(workers)
    try:
        while True:
            room = workers * _AHEAD_PER_WORKER - len(pending)
            pending.extend(pool.submit(_make, job) for job in itertools.islice(jobs, room))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make(job: Job) -> float | Refused:
    """Write the mask of one image; the share of its foreground, or why there is none."""
    sample, place, name = job
    try:
        payload = sample.load()
        image = np.asarray(decode_rgb(payload)) if isinstance(payload, bytes) else payload
    except ImageError as error:
        return Refused(sample.name, str(error))
    except OSError as error:
        return Refused(sample.name, f"the file cannot be read ({error.strerror or error})")
    mask = _checked(_method(name)(image), image.shape[:2], name)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, encode_mask(mask))
    return float(mask.mean() / 255)


@cache
def _method(name: str) -> Callable[[np.ndarray], object]:
    return make("saliency", name, find_class("saliency", name, METHODS, has=("__call__",)), {})


def _checked(mask: object, size: tuple[int, ...], name: str) -> np.ndarray:
    """[H, W] uint8."""
    kinds = (np.dtype(bool), np.dtype(np.uint8))
    if not isinstance(mask, np.ndarray) or mask.dtype not in kinds or mask.shape != size:
        got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask)
        raise UsageError(
            f"a saliency method gives [H, W] bool, or uint8 with 255 where the foreground is, got "
            f"{got} for an image of {list(size)} from {name}; give that"
        )
    return mask.astype(np.uint8) * 255 if mask.dtype == bool else mask
