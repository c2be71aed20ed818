"""Shards as files for the peer: the same bytes, class by class, once."""

from pathlib import Path

import numpy as np
import pytest
from tiny_sets import picture, write_set

from benchmarks.parity import image_files
from benchmarks.parity.image_files import DONE, unpack
from shards.errors import DataError
from shards.index import ShardIndex


def test_files_are_the_shards_bytes(tmp_path: Path) -> None:
    """Every image, in the folder of its class, under a name that tells its place."""
    images = unpack(str(write_set(tmp_path / "set", [0, 1, 0])), tmp_path / "out")
    found = {
        path.relative_to(images).as_posix(): path.read_bytes() for path in images.rglob("*.jpg")
    }
    labels = ShardIndex.open(tmp_path / "set").labels(np.arange(3))
    assert found == {f"{labels[i]:04d}/{i:08d}.jpg": picture([0, 1, 0][i], i) for i in range(3)}


def test_what_is_complete_is_left_and_what_is_not_is_made_anew(tmp_path: Path) -> None:
    """A killed command leaves no complete folder behind."""
    shards, out = str(write_set(tmp_path / "set", [0, 1])), tmp_path / "out"
    images = unpack(shards, out)
    (images / "0000" / "mark").touch()
    unpack(shards, out)
    assert (images / "0000" / "mark").exists()
    (out / DONE).unlink()
    unpack(shards, out)
    assert not (images / "0000" / "mark").exists()
    assert len(list(images.rglob("*.jpg"))) == 2


def test_other_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that reads fewer images than we do would be no peer."""
    monkeypatch.setattr(image_files, "_SUFFIXES", {b"\x89P": ".png"})
    with pytest.raises(DataError, match="JPEG or PNG, got others"):
        unpack(str(write_set(tmp_path / "set", [0])), tmp_path / "out")
    assert not (tmp_path / "out" / DONE).exists()
