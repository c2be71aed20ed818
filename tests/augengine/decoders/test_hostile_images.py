"""Corrupt and absurd images, from the tar to the backend's door: none gets through it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_loader import CPU, POLICY, ReferenceBackend, loader_of, overwrite, stream_ids, take

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from augengine.loader.view_loader import ViewLoader
from shards.errors import DataError
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.reader import ShardReader

ROW = 5  # of the first batch: where the hostile one stands


class Doorkeeper(ReferenceBackend):
    """Renders, and notes whatever it should never have been given."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def __call__(self, images, plan):
        for image, size in zip(images, plan.image_sizes.tolist(), strict=True):
            if image.dtype != torch.uint8 or list(image.shape) != [*size, 3] or 0 in size:
                self.wrong.append(f"{image.dtype} {list(image.shape)} for {size}")
        return super().__call__(images, plan)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_of(height: int, width: int) -> bytes:
    """A PNG whose header claims a size that its few pixels do not have."""
    png = encode(Image.new("RGB", (3, 2)), "PNG")
    at = png.index(b"IHDR") + 4
    return png[:at] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + png[at + 8 :]


def jpeg_of(original: bytes, height: int, width: int) -> bytes:
    """The JPEG with another size in its frame header."""
    at = original.index(b"\xff\xc0") + 5
    return original[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + original[at + 4 :]


def rotated(original: bytes) -> bytes:
    """The same pixels with EXIF that turns them by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(Image.open(io.BytesIO(original)), "JPEG", exif=exif, quality=20)


HOSTILE = {
    "nothing but zeros": lambda original: bytes(len(original)),
    "noise": lambda original: np.random.default_rng(0).bytes(len(original)),
    "another file": lambda original: b"#!/bin/sh\necho hello\n".ljust(len(original)),
    "cut in half": lambda original: original[: len(original) // 2].ljust(len(original), b"\0"),
    "header alone": lambda original: original[:100].ljust(len(original), b"\0"),
    "png of 3.6 gigapixels": lambda original: png_of(60_000, 60_000),
    "png just over the limit": lambda original: png_of(10_001, 10_000),
    "png of no width": lambda original: png_of(10, 0),
    "jpeg of 4.3 gigapixels": lambda original: jpeg_of(original, 65_500, 65_500),
    "jpeg of 81 megapixels": lambda original: jpeg_of(original, 9_000, 9_000),
    "jpeg of no height": lambda original: jpeg_of(original, 0, 40),
    "one pixel": lambda original: encode(Image.new("RGB", (1, 1)), "PNG"),
    "one row": lambda original: encode(Image.new("L", (60, 1)), "PNG"),
    "turned": rotated,
    "four channels of another size": lambda original: encode(Image.new("CMYK", (9, 9)), "TIFF"),
}


@pytest.mark.parametrize("name", ["dali", "pillow"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_replaced_before_the_backend(new_shards: object, kind: str, name: str) -> None:
    """Named and replaced; the other seven views of its batch are those of a clean set."""
    if name == "dali":
        pytest.importorskip("nvidia.dali")
    index = ShardIndex.open(new_shards())
    clean = take(1, index)[0]
    ids = stream_ids(index, 8)
    id = int(ids[ROW])
    entry = index.entry(id)
    path = index.directory / index.shards[entry.shard].name
    original = path.read_bytes()[entry.offset : entry.offset + entry.size]
    hostile = HOSTILE[kind](original)
    assert len(hostile) <= entry.size  # else the file would not hold what is tested
    overwrite(index, id, hostile.ljust(entry.size, b"\0"))
    door = Doorkeeper()
    settings = {"backend": door, "num_workers": 1, "prefetch": 0}
    with loader_of(index, decoder=create_decoder(name, CPU), **settings) as loader:
        views = next(loader)
        assert [bad.id for bad in loader.bad_samples] == [id]
        assert "\n" not in str(loader.bad_samples[0])
    assert not door.wrong
    substitute = SampleOrder(len(index), 3).substitute(np.array([0]), ids[ROW : ROW + 1], 0)[0]
    assert views.ids.tolist() == [*ids[:ROW], substitute, *ids[ROW + 1 :]]
    others = [row for row in range(8) if row != ROW]
    for crops, expected in zip(views.crops, clean.crops, strict=True):
        assert torch.equal(crops[:, others], expected[:, others])


@pytest.mark.parametrize(
    ("height", "width"), [(0, 40), (30, 0), (65_535, 65_535), (10_001, 10_000)]
)
def test_an_absurd_size_in_the_index_draws_no_plan(
    shard_folder: Path, height: int, width: int
) -> None:
    """No pixel, or over a hundred million: bad, whatever the file holds."""
    index = ShardIndex.open(shard_folder)
    records, id = np.array(index.records), int(stream_ids(index, 8)[ROW])
    records["height"][id], records["width"][id] = height, width
    lying, door = ShardIndex(index.directory, records, index.manifest), Doorkeeper()
    with loader_of(lying, backend=door) as loader:
        assert id not in next(loader).ids
        assert [bad.id for bad in loader.bad_samples] == [id]
    assert not door.wrong


def test_a_sample_of_no_bytes_or_beyond_its_shard_is_bad(shard_folder: Path) -> None:
    """What the index promises and the tar does not hold: a reason, no image, no exception."""
    index = ShardIndex.open(shard_folder)
    for field, value in (("size", 0), ("size", 2**32 - 1), ("offset", 2**62)):
        records = np.array(index.records)
        records[field][4] = value
        lying = ShardIndex(index.directory, records, index.manifest)
        with ShardReader(lying) as reader:
            source = ImageSource(lying, reader, create_decoder("pillow", CPU), Meter())
            good, bad = source.load(np.array([3, 4]))
        assert isinstance(good, torch.Tensor)
        assert bad.id == 4
        assert bad.reason


@pytest.mark.parametrize(
    "wrong",
    [
        lambda image: image[:, :, :1],
        lambda image: torch.cat([image, image[:, :, :1]], dim=2),
        lambda image: image[:, :, 0],
        lambda image: image.permute(2, 0, 1),
        lambda image: image.float(),
        lambda image: image.to(torch.int16),
        lambda image: image[None],
        lambda image: image[:0],
    ],
    ids=["gray", "alpha", "no channels", "CHW", "float", "16 bit", "batch", "no rows"],
)
def test_a_decoder_that_gives_anything_else_is_not_believed(
    shard_folder: Path, wrong: object
) -> None:
    """[H, W, 3] uint8 of the index's size, or it is a bad sample."""
    index, pillow, door = ShardIndex.open(shard_folder), create_decoder("pillow", CPU), Doorkeeper()

    class Wrong:
        name, device = "wrong", CPU

        def __call__(self, encoded):
            images = pillow(encoded)
            return [wrong(images[0]), *images[1:]]

    settings = {"num_workers": 1, "prefetch": 0, "bad_budget": 1.0, "batch_size": 4}
    with (
        loader_of(index, backend=door, decoder=Wrong(), **settings) as loader,
        # The substitutes come alone, so each of them is the first one.
        pytest.raises(DataError, match="only bad ones"),
    ):
        next(loader)
    assert not door.wrong
    assert "rebuild the index" in loader.bad_samples[0].reason


@pytest.mark.parametrize("backend", ["fused", "dali", "kornia"])
def test_the_smallest_images_are_images(tmp_path: Path, backend: str) -> None:
    """One pixel, one row, one column, in every mode: decoded, cropped and rendered, finite."""
    if backend == "dali":
        pytest.importorskip("nvidia.dali")
    modes = ["RGB", "L", "RGBA", "P", "1", "LA", "I;16"]
    sizes = [(1, 1), (1, 90), (90, 1), (2, 1)]
    images = [(mode, size) for mode in modes for size in sizes]
    with tarfile.open(tmp_path / "tiny-000000.tar", "w") as tar:
        for i, (mode, size) in enumerate(images):
            data = encode(Image.new(mode, size, 1), "PNG")
            member = tarfile.TarInfo(f"{i:03d}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    index = ShardIndex.open(tmp_path)
    assert len(index) == len(images)
    with ViewLoader(
        index,
        POLICY,
        batch_size=len(images),
        seed=0,
        backend=create_backend(backend, CPU),
        decoder=create_decoder("auto", CPU),
        num_workers=1,
    ) as loader:
        views = next(loader)
        assert not loader.bad_samples
    assert sorted(views.ids.tolist()) == list(range(len(images)))
    assert all(torch.isfinite(crops).all() for crops in views.crops)
