"""Images that are in both sets are counted by their bytes, quickly, whatever they are called."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from call_count import calls_of
from tiny_run import tiny_config
from tiny_sets import write_set

from shards.format import INDEX_DTYPE
from shards.index import ShardIndex
from trainer.eval import overlap
from trainer.eval.labelled import label_sets
from trainer.eval.overlap import repeated_images, shared_images
from trainer.evaluate import main as evaluate
from trainer.recipes.recipe import to_yaml
from trainer.run import main as run


class Index:
    """The part of a ShardIndex that is asked for."""

    def __init__(self, crc32: np.ndarray, size: np.ndarray) -> None:
        self.records = np.zeros(len(crc32), INDEX_DTYPE)
        self.records["crc32"], self.records["size"] = crc32, size
        self.rows = self.records.__getitem__

    def __len__(self) -> int:
        return len(self.records)

    def chunk(self, first: int, end: int) -> np.ndarray:
        return self.records[first:end]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_it_is_what_a_set_of_pairs_says(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both crc32 and size are the same, also for those that come twice, in any chunks."""
    monkeypatch.setattr(overlap, "_CHUNK", chunk)
    generator = np.random.default_rng(0)
    train: Any = Index(*generator.integers(0, 8, (2, 40)))
    test: Any = Index(*generator.integers(0, 8, (2, 30)))
    ids = np.arange(3, 30)
    pairs = set(zip(train.records["crc32"], train.records["size"], strict=True))
    wanted = sum((row["crc32"], row["size"]) in pairs for row in test.records[3:])
    assert 0 < wanted < 27
    assert shared_images(train, test, ids) == wanted
    number = repeated_images(train)
    assert number == (40 - len(pairs) if chunk == 1000 else None)


def test_a_million_images_take_no_loop() -> None:
    """Before every run and every evaluation."""
    crc32 = np.random.default_rng(0).permutation(1_000_000) * 4294  # even, and no two alike
    train: Any = Index(crc32, crc32 % 100_000)
    test: Any = Index(crc32[-50_000:] ^ (np.arange(50_000) % 2), crc32[-50_000:] % 100_000)

    def compare() -> None:
        assert shared_images(train, test, np.arange(50_000)) == 25_000
        assert repeated_images(train) == 0

    compare()  # NumPy imports parts of itself
    assert calls_of(compare) < 1000


def test_a_renamed_image_is_the_same_one(tmp_path: Path) -> None:
    """Two of three held-out images; labels and names tell nothing."""
    train = write_set(tmp_path / "train", [0, 1, 0, 1, 0], [0, 1, 2, 0, 1])
    test = write_set(tmp_path / "test", [1, 0, 1], [0, 1, 1])
    sets = label_sets(ShardIndex.open(train), ShardIndex.open(test))
    assert (sets.num_shared, sets.num_repeated) == (2, 0)
    assert "; 2 of 3 evaluation images are in the training set" in sets.describe()


def test_it_is_said_before_a_run_and_beside_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning first of all, the protocol line, and the JSON; nothing for other images."""
    train = write_set(tmp_path / "train", [0, 1, 2] * 4)
    shutil.copytree(train, tmp_path / "same")
    other = write_set(tmp_path / "other", [0, 1, 2], seed=1)
    changes = {"loop": {"epochs": 1, "batch_size": 6}, "run": {"log_every": 1, "device": "cpu"}}
    config = tiny_config(train, eval={"data": str(tmp_path / "same"), "k": 3}, **changes)
    (tmp_path / "tiny.yaml").write_text(to_yaml(config))
    folder, scores = str(tmp_path / "run"), tmp_path / "scores.json"
    assert run(["--config", str(tmp_path / "tiny.yaml"), "--out", folder]) == 0
    said = capsys.readouterr().err
    sentence = "12 of 12 evaluation images are in the training set"
    assert said.index(f"warning: {sentence}: their nearest") < said.index("kNN of a random")
    assert evaluate([folder, "--json", str(scores)]) == 0
    assert f"; {sentence}" in capsys.readouterr().out
    conditions = json.loads(scores.read_text())["conditions"]
    assert (conditions["test_in_train"], conditions["train_repeated"]) == (12, 0)
    assert evaluate([folder, "--eval-data", str(other), "--json", str(scores)]) == 0
    assert "in the training set" not in capsys.readouterr().out
    assert json.loads(scores.read_text())["conditions"]["test_in_train"] == 0
