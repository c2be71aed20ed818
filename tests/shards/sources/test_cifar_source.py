"""CIFAR archives: both kinds, folder or tar.gz, and pickles that want to run something."""

import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.errors import DataError, UsageError
from shards.sources.cifar import CifarSource

# Planes first, as in the archive: each row is one image's red, green and blue planes.
ROWS = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)


def dump(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    dump(folder / "batches.meta", {b"label_names": [b"plane", b"car"]})
    for i in range(5):
        rows = ROWS[2 * i : 2 * i + 2]
        dump(folder / f"data_batch_{i + 1}", {b"data": rows, b"labels": [i % 2, 1]})
    dump(folder / "test_batch", {b"data": ROWS[10:], b"labels": [1, 0]})
    return folder


def check(source: CifarSource, rows: np.ndarray) -> None:
    assert len(source) == len(rows)
    for number, row in enumerate(rows):
        image = source[number].load()
        assert isinstance(image, np.ndarray)
        assert image.shape == (32, 32, 3)
        np.testing.assert_array_equal(image[5, 7], row.reshape(3, 32, 32)[:, 5, 7])


def test_cifar10_from_its_folder(cifar10: Path) -> None:
    """Five batches in order, class names from the meta file, test on request."""
    train, test = CifarSource(cifar10), CifarSource(cifar10, "test")
    assert train.classes == ("plane", "car")
    check(train, ROWS[:10])
    check(test, ROWS[10:])
    assert [train[i].label for i in range(10)] == [0, 1, 1, 1, 0, 1, 1, 1, 0, 1]
    assert train.fingerprint != test.fingerprint


def test_cifar10_from_the_archive(cifar10: Path, tmp_path: Path) -> None:
    """The .tar.gz is read without unpacking, and is the same source as the folder."""
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(cifar10, arcname=cifar10.name)
    source = CifarSource(path)
    check(source, ROWS[:10])
    assert source.fingerprint == CifarSource(cifar10).fingerprint


def test_cifar100_has_fine_classes(tmp_path: Path) -> None:
    """Its labels are the fine ones, its keys may be text."""
    dump(tmp_path / "meta", {"fine_label_names": ["a", "b", "c"], "coarse_label_names": ["x"]})
    dump(tmp_path / "train", {"data": ROWS[:3], "fine_labels": [2, 0, 1], "coarse_labels": [0] * 3})
    source = CifarSource(tmp_path)
    assert source.classes == ("a", "b", "c")
    assert [source[i].label for i in range(3)] == [2, 0, 1]
    with pytest.raises(DataError, match="holds test"):
        CifarSource(tmp_path, "test")
    with pytest.raises(UsageError, match="'val'"):
        CifarSource(tmp_path, "val")


class Attack:
    """A pickle of this runs a command when it is loaded by pickle itself."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.witness,)


def test_loading_never_runs_code(cifar10: Path, tmp_path: Path) -> None:
    """A batch that asks for anything but arrays is refused before it acts."""
    witness = tmp_path / "witness"
    attack = Attack(witness)
    pickle.loads(pickle.dumps(attack))
    assert witness.exists()
    witness.unlink()
    dump(cifar10 / "data_batch_3", {b"data": attack, b"labels": [0]})
    with pytest.raises(DataError, match=r"data_batch_3.*asks for"):
        CifarSource(cifar10)
    assert not witness.exists()


@pytest.mark.parametrize(
    "batch",
    [
        {b"data": ROWS[:2], b"labels": [0, 2]},
        {b"data": ROWS[:2], b"labels": [0]},
        {b"data": ROWS[:2, :100], b"labels": [0, 0]},
        {b"data": b"bytes", b"labels": [0, 0]},
        {b"labels": [0, 0]},
        ["a list"],
    ],
)
def test_odd_batches_are_refused(cifar10: Path, batch: Any) -> None:
    """Labels out of range or too few, wrong images, missing keys."""
    dump(cifar10 / "data_batch_2", batch)
    with pytest.raises(DataError, match="CIFAR"):
        CifarSource(cifar10)


def test_torn_files_are_named(cifar10: Path, tmp_path: Path) -> None:
    """A batch cut short, an archive cut short, an archive of something else."""
    batch = cifar10 / "data_batch_1"
    batch.write_bytes(batch.read_bytes()[:100])
    with pytest.raises(DataError, match="data_batch_1"):
        CifarSource(cifar10)
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(cifar10 / "test_batch", arcname="photo.jpg")
    with pytest.raises(DataError, match="of something else"):
        CifarSource(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="must be whole"):
        CifarSource(path)
