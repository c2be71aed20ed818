"""Is there a faster CPU decoder that gives the same bytes? JPEG libraries on one thread, in turns.

    python -m benchmarks.augment.decoders_cpu [--photos PARQUET] [--peers FOLDER] [--out FILE]

Every decoder takes the same images in every round, in another order each time; kept is the least
CPU time of a round, which other load on the machine reaches last, and the median of its ratio to
Pillow in the same round. Before that every image is compared with Pillow's, bit for bit. Images are
photographs of 500x375 (photographs.py), and the same made as small as 64 and 32 pixels; `--photos`
takes a Parquet file of camera JPEGs in its `image` column instead. simplejpeg, imagecodecs and
OpenCV are timed where they are installed, or in the folder of `--peers` (pip install --target).
"""

import argparse
import importlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from augengine.decoders.create_decoder import create_decoder
from benchmarks.augment.photographs import photograph_jpegs
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser, count
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "decoders_cpu.json"
OURS = ("pillow", "dali", "nvimgcodec")
REFERENCE = "pillow"
SMALL_PX = (64, 32)
Decode = Callable[[Sequence[bytes]], list[Any]]  # to arrays or tensors [H, W, 3] uint8


def main(argv: list[str] | None = None) -> int:
    """Compare, time, print and write; returns the exit code."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def contenders() -> dict[str, Decode]:
    """Those that can be had here, each on one thread."""
    found: dict[str, Decode] = {name: create_decoder(name, "cpu", 1) for name in OURS}
    for name, make in PEERS.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    return found


def _simplejpeg() -> Decode:
    decode = importlib.import_module("simplejpeg").decode_jpeg
    return lambda encoded: [decode(data, colorspace="RGB") for data in encoded]


def _imagecodecs() -> Decode:
    decode = importlib.import_module("imagecodecs").jpeg8_decode
    return lambda encoded: [decode(data, outcolorspace="RGB") for data in encoded]


def _opencv() -> Decode:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    return lambda encoded: [
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) for data in encoded
    ]


PEERS = {"simplejpeg": _simplejpeg, "imagecodecs": _imagecodecs, "opencv": _opencv}


def num_different(images: Sequence[Any], truth: Sequence[Any]) -> int:
    """Images of which a byte differs, or the shape."""
    return sum(
        not np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(images, truth, strict=True)
    )


def time_in_turns(
    decoders: dict[str, Decode], encoded: Sequence[bytes], num_rounds: int
) -> dict[str, list[float]]:
    """CPU milliseconds an image, of every decoder in every round; the first round is not kept."""
    found: dict[str, list[float]] = {name: [] for name in decoders}
    names = list(decoders)
    for turn in range(num_rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.process_time()
            decoders[name](encoded)
            seconds = time.process_time() - start
            if turn:
                found[name].append(1e3 * seconds / len(encoded))
    return found


def compare(
    decoders: dict[str, Decode], encoded: Sequence[bytes], num_rounds: int
) -> dict[str, Any]:
    """A row a decoder: images that differ from Pillow's, milliseconds, and times as fast."""
    truth = decoders[REFERENCE](encoded)
    if not all(isinstance(image, torch.Tensor) for image in truth):
        raise UsageError("an image that is timed can be decoded, got one that cannot; leave it out")
    different = {name: num_different(d(encoded), truth) for name, d in decoders.items()}
    times = time_in_turns(decoders, encoded, num_rounds)
    return {
        name: {
            "images_that_differ": different[name],
            "ms": round(min(times[name]), 4),
            "times_as_fast": round(
                statistics.median(
                    theirs / own for theirs, own in zip(times[REFERENCE], times[name], strict=True)
                ),
                3,
            ),
        }
        for name in decoders
    }


def _sets(photos: Path | None, num_images: int) -> dict[str, list[bytes]]:
    jpegs = photograph_jpegs(num_images) if photos is None else _from_parquet(photos, num_images)
    large = "500x375, cut from photographs" if photos is None else "as a camera gives them"
    small = {f"{px} px": [_small(data, px) for data in jpegs] for px in SMALL_PX}
    return {large: jpegs, **small}


def _small(jpeg: bytes, side_px: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).convert("RGB").resize((side_px, side_px)).save(buffer, "JPEG")
    return buffer.getvalue()


def _from_parquet(path: Path, num_images: int) -> list[bytes]:
    if not path.is_file():
        raise UsageError(f"--photos is a Parquet file with an image column, got {path}")
    import pyarrow.parquet

    try:
        rows = (
            pyarrow.parquet.read_table(path, columns=["image"]).column(0)[:num_images].to_pylist()
        )
        return [row["bytes"] for row in rows]
    except (pyarrow.ArrowException, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"--photos is a Parquet file whose image column holds bytes, got {path} ({reason})"
        ) from None


def _benchmark(options: argparse.Namespace) -> int:
    if options.peers is not None:
        sys.path.append(str(options.peers))
    decoders = contenders()
    sets = _sets(options.photos, options.images)
    report: dict[str, Any] = {
        "conditions": conditions(),
        "libraries": {name: _version(name) for name in decoders},
        "settings": {"images": options.images, "rounds": options.rounds, "threads": 1},
        "results": {},
    }
    for name, encoded in sets.items():
        mean_kib = sum(map(len, encoded)) / len(encoded) / 1024
        rows = compare(decoders, encoded, options.rounds)
        report["results"][name] = {"kib_per_image": round(mean_kib, 1), "decoders": rows}
        print(f"{name}, {len(encoded)} images of {mean_kib:.1f} KiB")
        for decoder, row in rows.items():
            print(
                f"  {decoder:12} {row['ms']:8.3f} ms  {row['times_as_fast']:6.2f} x pillow  "
                f"{row['images_that_differ']} differ"
            )
    write_whole(options.out, json.dumps(report, indent=2) + "\n")
    print(f"written to {options.out}")
    return 0


def _version(name: str) -> str:
    if name == "imagecodecs":
        return str(importlib.import_module(name).jpeg8_version())
    known = {
        "dali": "nvidia.dali",
        "nvimgcodec": "nvidia.nvimgcodec",
        "pillow": "PIL",
        "opencv": "cv2",
    }
    return str(importlib.import_module(known.get(name, name)).__version__)


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.augment.decoders_cpu", __doc__)
    add = parser.add_argument
    add("--photos", type=Path, metavar="FILE", help="Parquet with JPEGs; default: made here")
    add("--peers", type=Path, metavar="FOLDER", help="where further libraries are installed")
    add("--images", type=count, default=200, metavar="N", help="default: %(default)s")
    add("--rounds", type=count, default=7, metavar="N", help="default: %(default)s")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
