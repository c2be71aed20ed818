"""Remote shards against local ones: images a second from a warm cache, and cold at a bandwidth.

    python -m benchmarks.remote.throughput [--seconds 10] [--out benchmarks/results/remote.json]

JPEGs (photographs.py) in small shards lie on the disk, behind a web server and behind an S3 server,
each a process of its own on the loopback. Views are first held to be those of the disk, bit for
bit. Then the loader (SwAV 2+6, 224+96 px) and the reader alone take turns on all of them: from a
warm cache, and image by image. Last, both read an epoch through an empty cache from servers that
share out a bandwidth: `share_of_bandwidth` is the time that the shards' bytes take at it over the
time of the epoch, which has a first window to wait for and a last one to work on.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from s3fs import S3FileSystem

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy
from benchmarks.augment.photographs import pack_photographs
from benchmarks.remote.loopback import s3_serving, serving
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.remote.address import RemoteFolder
from shards.terminal.commandline import CommandParser
from tools.profiling.measure import Case, Result, Run, measure, times_as_fast
from trainer.record.conditions import conditions

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "remote.json"
BATCH_SIZE, WORKERS, WINDOW_SHARDS, SEED, COLD_ROUNDS = 32, 2, 4, 0, 3
SHARD_BYTES = 2 << 20
BUCKET = "s3://bucket/train"
CPU = torch.device("cpu")
FIGURES = ("images_per_s", "images_per_s_min", "images_per_s_max", "cpu_ms_per_image")


def main(argv: list[str] | None = None) -> int:
    """Serve, compare, time, write the figures; returns the exit code."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.remote.throughput", __doc__)
    add = parser.add_argument
    add("--num-images", type=int, default=1024, help="default: %(default)s")
    add("--seconds", type=float, default=10, help="of each row, over 5 rounds (%(default)s)")
    add("--mb-per-s", default="10,20", help="bandwidths of the cold runs (%(default)s)")
    add("--out", type=Path, default=DEFAULT_OUT, help="default: %(default)s")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    if options.num_images < 4 * BATCH_SIZE:
        raise UsageError(f"--num-images is at least {4 * BATCH_SIZE}, got {options.num_images}")
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["AUGENGINE_CACHE"] = str(temporary / "cache")
        shards = temporary / "train"
        pack_photographs(options.num_images, shards, shard_size_bytes=SHARD_BYTES)
        http = stack.enter_context(serving(str(shards)))
        s3 = stack.enter_context(s3_serving(shards))
        places = _places(shards, http)
        _check_views(places)
        warm = _warm(places, options.seconds)
        local = ShardIndex.open(shards)
        cold: list[dict[str, object]] = [
            {"from": "local", "by": who, "epoch_s": round(f(local)[0], 3)}
            for who, f in EPOCHS.items()
        ]
        for mb_per_s in map(float, options.mb_per_s.split(",")):
            for kind, source in (("http", str(shards)), ("s3", s3)):
                with serving(source, mb_per_s * 1e6) as url:
                    cold += _cold(kind, url, mb_per_s, temporary)
    sizes = [shard.size_bytes for shard in local.shards]
    report = {
        "conditions": conditions(),
        "data": {
            "images": options.num_images,
            "shards": len(sizes),
            "mb": round(sum(sizes) / 1e6, 2),
            "window_shards": WINDOW_SHARDS,
            "batch_size": BATCH_SIZE,
            "workers": WORKERS,
            "policy": "swav 2+6, 224+96 px, fused",
            "servers": "faulty_server.py and moto, on the loader's cores",
        },
        "warm": warm,
        "cold": cold,
    }
    print(json.dumps({"warm": warm, "cold": cold}, indent=1))
    write_whole(options.out, json.dumps(report, indent=1) + "\n")
    return 0


def _places(shards: Path, http: str) -> dict[str, ShardIndex]:
    places = {"local": ShardIndex.open(shards)}
    for kind, url in (("http", http), ("s3", BUCKET)):
        for mode in ("cache", "range"):
            places[f"{kind}, {mode}"] = ShardIndex.open(RemoteFolder(url, mode))
    return places


def _check_views(places: dict[str, ShardIndex]) -> None:
    """The gate: a fast reader of wrong bytes is not timed. It also warms the caches."""
    digests = set()
    for index in places.values():
        sha = hashlib.sha256()
        with _loader(index) as loader:
            for _ in range(len(index) // BATCH_SIZE):
                for crops in next(loader).crops:
                    sha.update(crops.numpy().tobytes())
        digests.add(sha.hexdigest())
    assert len(digests) == 1, "views of remote shards are not those of local ones"


def _warm(places: dict[str, ShardIndex], seconds: float) -> dict[str, object]:
    caches: dict[str, list[dict[str, int]]] = {}
    loaders = measure([_loader_case(*p, caches) for p in places.items()], seconds=seconds)
    readers = measure([_reader_case(*p) for p in places.items()], seconds=seconds / 2)
    hits = {name: min(map(_hit_rate, found)) for name, found in caches.items()}
    return {"loader": _rows(loaders), "reader_alone": _rows(readers), "cache_hit_rates": hits}


def _rows(results: list[Result]) -> dict[str, object]:
    return {
        result.name: {
            **{key: result.as_json()[key] for key in FIGURES},
            "of_local": times_as_fast(result, results[0]),
        }
        for result in results
    }


def _loader(index: ShardIndex) -> ViewLoader:
    return ViewLoader(
        index,
        load_policy("swav"),
        batch_size=BATCH_SIZE,
        seed=SEED,
        backend=create_backend("fused", CPU, num_threads=WORKERS),
        decoder=create_decoder("auto", CPU, num_threads=WORKERS),
        num_workers=WORKERS,
        order=index.windowed_order(SEED, WINDOW_SHARDS),
    )


def _loader_case(name: str, index: ShardIndex, caches: dict[str, list[dict[str, int]]]) -> Case:
    def start() -> Run:
        loader = _loader(index)

        def stop() -> dict[str, float]:
            loader.close()
            counts = getattr(loader._reader._files, "counts", None)
            if counts is not None:
                caches.setdefault(name, []).append(dict(counts))
            return {}

        return Run(lambda: next(loader), stop)

    return Case(name, BATCH_SIZE, 8, start)


def _reader_case(name: str, index: ShardIndex) -> Case:
    """The bytes alone, in the same order; local ones are verified too."""

    def start() -> Run:
        reader = ShardReader(index, verify=True)
        reader.expect(None)
        order, batches = index.windowed_order(SEED, WINDOW_SHARDS), iter(range(10**9))

        def read() -> None:
            positions = next(batches) * BATCH_SIZE + np.arange(BATCH_SIZE)
            assert all(isinstance(item, bytes) for item in reader.read(order(positions)[1]))

        return Run(read, lambda: reader.close() or {})

    return Case(name, BATCH_SIZE, 0, start)


def _cold(kind: str, url: str, mb_per_s: float, temporary: Path) -> list[dict[str, object]]:
    """An epoch through an empty cache, by the loader and by the reader alone."""
    if kind == "s3":
        os.environ["AWS_ENDPOINT_URL"] = url
        S3FileSystem.clear_instance_cache()
    rows, counts, network_s = [], {}, 0.0
    for who, epoch in EPOCHS.items():
        times_s = []
        for _ in range(COLD_ROUNDS):
            with tempfile.TemporaryDirectory(dir=temporary) as cache:
                folder = RemoteFolder(url if kind == "http" else BUCKET, cache=Path(cache))
                index = ShardIndex.open(folder)
                num_bytes = sum(shard.size_bytes for shard in index.shards)
                network_s = num_bytes / (mb_per_s * 1e6)
                seconds, counts = epoch(index)
                assert counts["bytes"] == num_bytes
            times_s.append(seconds)
        rows.append(
            {
                "from": kind,
                "by": who,
                "mb_per_s_allowed": mb_per_s,
                "bytes_alone_s": round(network_s, 3),
                "epoch_s": [round(seconds, 3) for seconds in sorted(times_s)],
                "share_of_bandwidth": round(network_s / statistics.median(times_s), 3),
                "cache_hit_rate": round(_hit_rate(counts), 4),
            }
        )
    return rows


def _loader_epoch(index: ShardIndex) -> tuple[float, dict[str, int]]:
    start = time.perf_counter()
    with _loader(index) as loader:
        for _ in range(-(-len(index) // BATCH_SIZE)):
            next(loader)
        return time.perf_counter() - start, dict(getattr(loader._reader._files, "counts", {}))


def _reader_epoch(index: ShardIndex) -> tuple[float, dict[str, int]]:
    order, begin = index.windowed_order(SEED, WINDOW_SHARDS), time.perf_counter()
    with ShardReader(index) as reader:
        for start in range(0, len(index), BATCH_SIZE):
            reader.expect(order.shards_ahead(start))
            reader.read(order(np.arange(start, min(start + BATCH_SIZE, len(index))))[1])
        return time.perf_counter() - begin, dict(getattr(reader._files, "counts", {}))


EPOCHS = {"loader": _loader_epoch, "reader": _reader_epoch}


def _hit_rate(counts: dict[str, int]) -> float:
    return counts.get("hit", 0) / sum(counts.get(x, 0) for x in ("hit", "waited", "alone"))


if __name__ == "__main__":
    sys.exit(main())
