"""The far side of peers.py: lightly's and torchvision's own transforms, in their own environment.

Started with the peers' Python, which need not have AugEngine: `python peer_worker.py CASES.json`.
It says hello with one line of JSON: {"versions": ..., "cases": {name: {"sizes_px": [...]} or
{"left_out": why}}}. Then it answers every line on stdin with one on stdout: {"do": "start", "case":
name}, {"do": "call"} (makes the views of one batch), {"do": "stop"}; one case runs at a time. The
answer to each is {"cpu_seconds": ...}: of this process and its helpers since it began, or null.

Threads are processes here, as a DataLoader's are. `from pixels` and `from bytes` map a batch over
a pool that keeps the views where they were made: collating and sending them is free. `end to end`
is a DataLoader, which does both.
"""

import io
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib import metadata
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TextIO

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

LIBRARIES = ("torch", "torchvision", "lightly", "pillow")
Transform = Callable[[Any], list[torch.Tensor]]


class LeftOutError(Exception):
    """Why a case cannot run here."""


def main() -> int:
    """Serve requests until stdin ends."""
    # Whatever a library prints must not stand between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = {case["name"]: _try(case) for case in cases}
    _write(answers, {"versions": _versions(), "cases": found})
    by_name = {case["name"]: case for case in cases}
    call, stop = _nothing, _nothing
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            call, stop = _start(by_name[request["case"]])
        elif request["do"] == "call":
            call()
        else:
            stop()
            call, stop = _nothing, _nothing  # a DataLoader's processes end with its iterator
        _write(answers, {"cpu_seconds": _cpu_seconds()})
    return 0


def _nothing() -> None:
    pass


def _write(file: TextIO, answer: dict[str, Any]) -> None:
    file.write(json.dumps(answer) + "\n")
    file.flush()


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _try(case: dict[str, Any]) -> dict[str, Any]:
    """Make the views of one image: how large they are, or why there are none."""
    try:
        made = _job(case)(0)
    except LeftOutError as reason:
        return {"left_out": str(reason)}
    except ImportError as error:
        return {"left_out": f"not installed: {error}"}
    assert all(view.dtype == torch.float32 and view.isfinite().all() for view in made)
    return {"sizes_px": [view.shape[-1] for view in made]}


def _start(case: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], object]]:
    """The function that makes one batch, and the one that ends the case."""
    job, processes, batch_size = _job(case), case["processes"], case["batch_size"]
    numbers = cycle(range(len(_files(case["folder"]))))
    if case["kind"] == "end to end":
        loader = DataLoader(
            _Images(job), batch_size, sampler=numbers, num_workers=processes, drop_last=True
        )
        batches = iter(loader)
        # What the workers made ahead before the clock started must not count.
        for _ in range(processes * (loader.prefetch_factor or 0)):
            next(batches)
        return partial(next, batches), _nothing
    if processes == 1:
        return lambda: [job(next(numbers)) for _ in range(batch_size)], _nothing
    pool = multiprocessing.get_context("fork").Pool(processes, _set_job, (job,))
    chunk = -(-batch_size // processes)
    return lambda: pool.map(_work, list(islice(numbers, batch_size)), chunk), pool.terminate


_job_here: Callable[[int], list[torch.Tensor]] | None = None  # of a pool's process


def _set_job(job: Callable[[int], list[torch.Tensor]]) -> None:
    global _job_here
    _job_here = job


def _work(number: int) -> int:
    assert _job_here is not None
    return len(_job_here(number))


class _Images(Dataset):
    """A map-style data set of views."""

    def __init__(self, job: Callable[[int], list[torch.Tensor]]) -> None:
        self._job = job

    def __getitem__(self, number: int) -> list[torch.Tensor]:
        return self._job(number)


def _job(case: dict[str, Any]) -> Callable[[int], list[torch.Tensor]]:
    """From the number of an image to its views, beginning where the kind of case begins."""
    is_lightly = case["library"] == "lightly"
    transform = (_lightly if is_lightly else _torchvision)(case["policy"])
    decode = _picture if is_lightly else _tensor
    folder = case["folder"]
    if case["kind"] == "from pixels":
        pixels = _pixels(folder, decode)
        return lambda number: transform(pixels[number])
    if case["kind"] == "from bytes":
        encoded = _bytes(folder)
        return lambda number: transform(decode(encoded[number]))
    files = _files(folder)
    return lambda number: transform(decode(files[number].read_bytes()))


@cache
def _files(folder: str) -> list[Path]:
    return sorted(Path(folder).iterdir())


@cache
def _bytes(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in _files(folder)]


@cache
def _pixels(folder: str, decode: Callable[[bytes], Any]) -> list[Any]:
    return [decode(data) for data in _bytes(folder)]


def _picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _tensor(data: bytes) -> torch.Tensor:
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)


def _lightly(policy: dict[str, Any]) -> Transform:
    """The transform lightly itself has by the policy's name, with its own numbers."""
    from lightly import transforms

    counts = [group["count"] for group in policy["groups"]]
    sizes = [group["size_px"] for group in policy["groups"]]
    name, size = policy["name"], sizes[0]
    local = sizes[1] if len(sizes) > 1 else 96
    num_local = counts[1] if len(counts) > 1 else 0
    makers = {
        "swav": lambda: transforms.SwaVTransform((size, local), (counts[0], num_local)),
        "byol": lambda: transforms.BYOLTransform(
            transforms.BYOLView1Transform(size), transforms.BYOLView2Transform(size)
        ),
        "simclr": lambda: transforms.SimCLRTransform(size),
        "simsiam": lambda: transforms.SimSiamTransform(size),
        "mocov2": lambda: transforms.MoCoV2Transform(size),
        "dino": lambda: transforms.DINOTransform(
            size, local_crop_size=local, n_local_views=num_local
        ),
    }
    if name not in makers:
        raise LeftOutError(f"lightly has a transform for {', '.join(makers)}, not for {name}")
    return makers[name]()


def _torchvision(policy: dict[str, Any]) -> Transform:
    """The policy itself as torchvision v2 transforms of a uint8 tensor."""
    recipes = [
        _recipe(group["views"][v % len(group["views"])], group["size_px"], policy)
        for group in policy["groups"]
        for v in range(group["count"])
    ]
    return lambda image: [recipe(image) for recipe in recipes]


def _recipe(view: dict[str, Any], size: int, policy: dict[str, Any]) -> Transform:
    from torchvision.transforms import InterpolationMode, v2

    taps = view["kernel_px"] or size // 10 | 1
    strengths = [view[name] for name in ("brightness", "contrast", "saturation", "hue")]
    steps = [
        v2.RandomResizedCrop(
            size, view["scale"], view["ratio"], InterpolationMode(view["interpolation"])
        ),
        v2.RandomHorizontalFlip(view["flip"]),
        v2.RandomApply([v2.ColorJitter(*strengths)], view["jitter"]),
        v2.RandomGrayscale(view["gray"]),
        v2.RandomApply([v2.GaussianBlur(taps, view["sigma"])], view["blur"]),
        v2.RandomSolarize(255 * view["threshold"], view["solarize"]),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(policy["mean"], policy["std"]),
    ]
    return v2.Compose(steps)


def _cpu_seconds() -> float | None:
    """Of this process and the ones it started and has not ended; None where /proc is missing."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        try:
            fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1]
        except OSError:
            return None
        user, system = fields.split()[11:13]
        total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    sys.exit(main())
