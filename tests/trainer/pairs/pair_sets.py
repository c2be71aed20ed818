"""Small image sets for the array: made through the command a user types, or as tars of others."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from shards.index import ShardIndex
from tools.make_shards import main as make_shards

CLASSES = ("ant", "bee", "cat", "dog")
NUM_IMAGES = 41  # odd, so that no batch divides it
NUM_DAMAGED = 3
Sample = tuple[str, bytes, str | None]  # name, JPEG, class


def picture(seed: int, label: int) -> bytes:
    """A smooth JPEG of 33 to 60 pixels a side whose class tints it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (4, 4, 3), dtype=np.uint8)
    coarse[..., label % 3] += 55
    buffer = io.BytesIO()
    sides = tuple(rng.integers(33, 61, 2).tolist())
    Image.fromarray(coarse).resize(sides, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def training_samples(labels: str) -> list[Sample]:
    """All, two thirds or none of the images with their class."""
    keep = {"all": lambda i: True, "partly": lambda i: i % 3 > 0, "none": lambda i: False}[labels]
    return [
        (f"{i:04d}", picture(i, i % 4), CLASSES[i % 4] if keep(i) else None)
        for i in range(NUM_IMAGES)
    ]


def evaluation_samples(kind: str) -> list[Sample]:
    """Other images of the same classes, or as `kind` says."""
    classes = {"fewer": CLASSES[1:3], "other": ("yak", "zebra")}.get(kind, CLASSES)
    return [
        (
            f"{i:04d}",
            picture(1000 + i, i % len(classes)),
            None if kind == "partly" and i % 3 == 0 else classes[i % len(classes)],
        )
        for i in range(24)
    ]


def make_set(samples: list[Sample], source: str, folder: Path) -> Path:
    """The folder of shards that comes of the samples by way of `source`."""
    folder.mkdir(parents=True)
    if source == "tars" or any(label is None for _, _, label in samples):
        # Only tars can hold images with and without a class beside each other.
        for shard, part in enumerate((samples[::2], samples[1::2])):
            _write_tar(folder / f"set-{shard:03d}.tar", part)
        assert make_shards([str(folder)]) == 0
        return folder
    raw, out = folder / "raw", folder / "shards"
    if source == "parquet":
        raw.mkdir()
        rows = [{"bytes": data, "path": f"{name}.jpg"} for name, data, _ in samples]
        labels = [label for _, _, label in samples]
        pq.write_table(pa.table({"image": rows, "label": labels}), raw / "train.parquet")
    else:
        for name, data, label in samples:
            (raw / str(label)).mkdir(parents=True, exist_ok=True)
            (raw / str(label) / f"{name}.jpg").write_bytes(data)
    assert make_shards([str(raw), str(out), "--shard-size", "16KiB"]) == 0
    return out


def damage(folder: Path) -> None:
    """Overwrite the pixels of a few images, as a bad sector does: no time of change moves."""
    index = ShardIndex.open(folder)
    for id in range(0, 4 * NUM_DAMAGED, 4):
        entry = index.entry(id)
        path = folder / index.shards[entry.shard].name
        times = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(entry.offset + entry.size // 2)
            file.write(bytes(entry.size // 2))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _write_tar(path: Path, samples: list[Sample]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data, label in samples:
            _add(tar, f"{name}.jpg", data)
            _add(tar, f"{name}.json", json.dumps({"from": "elsewhere"}).encode())
            if label is not None:
                _add(tar, f"{name}.cls", label.encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
