"""Partly labelled tars on a web server that fails: MoCo, then a tenth of the labels."""

import io
import json
import tarfile
from pathlib import Path

from faulty_server import Faults, FaultyServer
from story import SMALL, photo
from typed import typed


def write_tars(folder: Path, num_images: int, first: int) -> None:
    """Tars as another tool writes them; every fifth image has no class."""
    folder.mkdir(parents=True)
    for shard in range(4):
        with tarfile.open(folder / f"part-{shard}.tar", "w") as tar:
            for i in range(shard, num_images, 4):
                add(tar, f"{i:05d}.jpg", photo(first + i, i % 3))
                if i % 5:
                    add(tar, f"{i:05d}.cls", f"{i % 3}\n".encode())


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def test_partly_labelled_shards_from_a_bad_network(desk: Path, times: int) -> None:
    """Unlabelled images train and take no part in a score, and their number is said."""
    num_train, num_test = 60 * times, 40
    for name, count, first in (("train", num_train, 0), ("test", num_test, 10_000)):
        write_tars(desk / name, count, first)
        said = typed(f"python tools/make_shards.py {name}", desk)
        assert f"{count} images" in said
    faults = Faults(fail=0.1, cut=0.05)
    with FaultyServer(desk / "train", faults) as train, FaultyServer(desk / "test", faults) as test:
        said = typed(
            f"python -m trainer.run --data {train.url} --eval-data {test.url} --method mocov2 "
            f"--views 2 --sizes 32 --batch-size 12 --epochs {times} --out run {SMALL} "
            "method.queue_length=24 method.groups=2 data.remote_timeout_s=20",
            desk,
        )
        assert "kNN" in said
        unlabelled = f"{num_train // 5} training and {num_test // 5} held-out images without"
        assert f"left out: {unlabelled} a label" in said
        said = typed(
            "python -m trainer.evaluate run --finetune 0.1 --finetune-epochs 2 --json tuned.json",
            desk,
        )
    tuned = json.loads((desk / "tuned.json").read_text())["finetune"]
    labelled = [i for i in range(num_train) if i % 5]
    a_tenth = sum(-(-sum(i % 3 == c for i in labelled) // 10) for c in range(3))
    assert tuned["images"] == a_tenth
    assert 0 <= tuned["accuracy"] <= 1
    assert f"of {a_tenth} labelled ones" in said
