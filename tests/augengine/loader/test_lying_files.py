"""Files that lie about other files: an index, a manifest, a plan, a JPEG of a thousand scans."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.pillow_decoder import decode_one
from augengine.decoders.sniff import is_plain
from augengine.draw import draw_plan
from augengine.plan import Plan
from augengine.policies import load_policy
from shards.errors import DataError
from shards.format import MANIFEST_NAME, Manifest
from shards.index import ShardIndex
from shards.reader import SampleError, ShardReader
from shards.samples.image_header import ImageError, load, open_image


def lying(folder: Path, **values: int) -> ShardIndex:
    """The index with fields of sample 4 replaced."""
    index = ShardIndex.open(folder)
    records = np.array(index.records)
    for name, value in values.items():
        records[name][4] = value
    return ShardIndex(index.directory, records, index.manifest)


@pytest.mark.parametrize(
    "values",
    [{"offset": 2**64 - 1}, {"offset": 2**63}, {"offset": 2**63 - 1}, {"size": 2**32 - 1}],
)
def test_bytes_that_are_not_there_are_a_bad_sample(shard_folder: Path, values: dict) -> None:
    """Whatever place the index names: named, with no more memory than the tar has bytes."""
    with ShardReader(lying(shard_folder, **values)) as reader:
        good, bad = reader.read(np.array([3, 4]))
    assert isinstance(good, bytes)
    assert isinstance(bad, SampleError)
    assert "the shard ends after" in bad.reason


def test_a_shard_that_is_not_there_stops_a_run(shard_folder: Path) -> None:
    """The index is damaged, not a sample: one line with the remedy, from whatever is asked."""
    index = lying(shard_folder, shard=3)
    ids = np.array([3, 4])
    for ask in (index.sizes, index.labels, index.rows, ShardReader(index).read):
        with pytest.raises(DataError, match=r"of the 3 shards .* got shard 3 .*; delete it"):
            ask(ids)
    assert len(index.rows(np.array([], dtype=np.int64))) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"shards": {"name": "a.tar"}},
        {"classes": "abc"},
        {"classes": [1]},
        {"made": [1]},
        {"index_sha256": 3},
        {"shards": [{"name": "../a.tar", "num_samples": 1, "size_bytes": 1, "sha256": None}]},
        {"shards": [{"name": ["a"], "num_samples": 1, "size_bytes": 1, "sha256": None}]},
        {"shards": [{"name": "a", "num_samples": -1, "size_bytes": 1, "sha256": None}]},
        {"shards": [{"name": "a", "num_samples": 1.0, "size_bytes": 1, "sha256": None}]},
        {"shards": [{"name": "a", "num_samples": True, "size_bytes": 1, "sha256": None}]},
        {"shards": [{"name": "a", "num_samples": 1, "size_bytes": 1 << 63, "sha256": None}]},
        {"shards": [{"name": "a", "num_samples": 1, "size_bytes": 1, "sha256": 5.5}]},
        {"shards": [{"name": "a", "num_samples": 1, "size_bytes": 1, "sha256": None}] * 2},
    ],
)
def test_a_manifest_of_wrong_values_is_refused(shard_folder: Path, change: dict) -> None:
    """Names that leave the folder, counts that are none, texts that are lists."""
    ShardIndex.open(shard_folder)
    content = json.loads((shard_folder / MANIFEST_NAME).read_text())
    assert Manifest.from_json(json.dumps(content))
    with pytest.raises(DataError, match="must be one written by AugEngine"):
        Manifest.from_json(json.dumps(content | change))


def test_a_manifest_that_is_too_deep_is_refused() -> None:
    """Python's parser gives up with an error of its own."""
    with pytest.raises(DataError, match="RecursionError"):
        Manifest.from_json("[" * 100_000)


@pytest.fixture
def plan() -> Plan:
    return draw_plan(load_policy("byol"), np.arange(3), np.zeros(3), np.full((3, 2), 40), seed=1)


def test_a_window_cannot_wrap_around(plan: Plan) -> None:
    """2**31 - 1 and 1 make a negative sum in 32 bits, which lies inside every image."""
    window = plan.window.copy()
    window[1, 0] = (2**31 - 1, 0, 1, 1)
    with pytest.raises(ValueError, match="a window lies inside its image"):
        replace(plan, window=window)


@pytest.mark.parametrize("name", ["brightness", "hue", "sigma", "solarize"])
def test_a_plan_is_finite(plan: Plan, name: str) -> None:
    """nan and infinity would spread over whole views."""
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            replace(plan, **{name: np.full_like(getattr(plan, name), value)})
    with pytest.raises(ValueError, match="three numbers"):
        replace(plan, mean=(0.5, np.nan, 0.5))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("flip", np.zeros(3, bool)),
        ("flip", np.array([["a", "b"]] * 3)),
        ("hue", np.full((3, 2), 1j)),
        ("order", np.full((3, 2), 24, np.uint8)),
        ("kernel_px", np.array([2, 2], np.int32)),
        ("mean", np.zeros(4)),
        ("version", np.array([1, 2])),
        ("version", np.array("x")),
    ],
)
def test_a_plan_file_of_wrong_arrays_is_refused(
    plan: Plan, name: str, array: np.ndarray, tmp_path: Path
) -> None:
    """What no plan can be is an error of the data, which names the file."""
    path = tmp_path / "plan.npz"
    plan.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {name: array}))
    with pytest.raises(DataError, match=r"plan\.npz: .*; draw it again"):
        Plan.load(path)


def test_a_jpeg_of_many_scans_is_refused() -> None:
    """Some bytes a scan, each as much work as the image; encoders write ten of them."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "JPEG", progressive=True)
    good = buffer.getvalue()
    start = good.rfind(b"\xff\xda")
    bomb = good[:start] + good[start:-2] * 100 + good[-2:]
    load(open_image(good))
    assert is_plain(good)
    with pytest.raises(ImageError, match="over 100 scans"):
        open_image(bomb)
    assert not is_plain(bomb)  # so DALI does not get it either
    assert isinstance(decode_one(bomb), DecodeFailure)
