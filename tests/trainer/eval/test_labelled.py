"""Which images are evaluated: the labelled ones of common classes, whatever is mixed among them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import tiny_config
from tiny_sets import write_set

from shards.errors import DataError
from shards.index import ShardIndex
from trainer.eval import labelled
from trainer.eval.labelled import LabelledSets, label_sets, sample_positions
from trainer.evaluate import main as evaluate
from trainer.recipes.recipe import to_yaml
from trainer.record.log import read_metrics
from trainer.run import main as run

Labels = Sequence[int | str | None]


def sets_of(tmp_path: Path, train: Labels, test: Labels, *most: int) -> LabelledSets:
    folders = write_set(tmp_path / "train", train), write_set(tmp_path / "test", test)
    return label_sets(*(ShardIndex.open(folder) for folder in folders), *most)


@pytest.mark.parametrize(("train", "test", "ids", "unlabelled"), [
    ([0, 1, 0, 1], [1, 0], ([0, 1, 2, 3], [0, 1]), (0, 0)),
    ([-1, 1, None, 0], [0, 1, -1], ([1, 3], [0, 1]), (2, 1)),
    ([None] * 7 + [1], [None, 1, 1], ([7], [1, 2]), (7, 1)),
    ([0, -5, 1], [1], ([0, 2], [0]), (1, 0)),
])  # fmt: skip
def test_only_labelled_images_take_part(
    train: Labels,
    test: Labels,
    ids: tuple[list[int], list[int]],
    unlabelled: tuple[int, int],
    tmp_path: Path,
) -> None:
    """With -1 or without .cls, in either set, one or nearly all: left out and counted."""
    sets = sets_of(tmp_path, train, test)
    assert (sets.train.ids.tolist(), sets.test.ids.tolist()) == ids
    assert (sets.train.num_unlabelled, sets.test.num_unlabelled) == unlabelled
    assert ("without a label" in sets.describe()) == any(unlabelled)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_a_part_is_drawn_from_what_is_labelled(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """max_train_images counts labelled images, however the index is gone through."""
    monkeypatch.setattr(labelled, "_CHUNK", chunk)
    labels = [i % 2 if i % 3 else None for i in range(30)]
    sets = sets_of(tmp_path, labels, [0, 1], 8)
    having = np.array([i for i in range(30) if i % 3])
    assert sets.train.ids.tolist() == having[sample_positions(20, 8)].tolist()
    assert sets.train.num_unlabelled == 10


def test_a_part_of_a_labelled_set_is_the_same_as_ever() -> None:
    """All ids, or a fixed random part of them, ascending: published scores depend on it."""
    assert sample_positions(5, 0).tolist() == sample_positions(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert sample_positions(100, 5).tolist() == [26, 30, 50, 61, 81]


def test_the_first_labels_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One labelled image at the end of a set is found, past any sample of it."""
    train, test = write_set(tmp_path / "train", [0] * 3), write_set(tmp_path / "test", [0])
    index = ShardIndex.open(train)
    index.records = np.repeat(np.asarray(index.records), 20_000)
    index.records["label"][:-1] = -1
    sets = label_sets(index, ShardIndex.open(test))
    assert sets.train.ids.tolist() == [59_999]
    assert sets.train.num_unlabelled == 59_999


@pytest.mark.parametrize(("train", "test", "common", "foreign", "rule"), [
    (["a", "b", "c"], ["c", "b"], [2, 1], {}, "by name"),  # a part of the classes
    (["c", "a"], ["a", "b", "c"], [0, 1], {"b": 1}, "by name"),  # one that training lacks
    (["a", "b"], ["b", None, "x", "x", "y"], [1], {"x": 2, "y": 1}, "by name"),
    ([0, 1, 2], [2, 0], [2, 0], {}, "by number"),
    ([0, 1], [1, 7], [1], {"7": 1}, "by number"),
    ([5, 2_000_000_000], [2_000_000_000, 5], [2_000_000_000, 5], {}, "by number"),
    (["dog", "cat"], [0, 1], [0, 1], {}, "by number"),  # only training has names
    ([1, 0], ["cat", "dog"], [0, 1], {}, "by number"),  # only evaluation has
    (["0", "1", "10", "x"], ["10", "0"], [2, 0], {}, "by name"),
])  # fmt: skip
def test_classes_are_matched(
    train: Labels, test: Labels, common: list[int], foreign: dict, rule: str, tmp_path: Path
) -> None:
    """By name, also in part and in another order, else by number; classes of one set are said."""
    sets = sets_of(tmp_path, train, test)
    labels = sets.test.index.labels(sets.test.ids)
    assert sets.test.renumber(labels).tolist() == common
    assert (sets.test.foreign, sets.rule) == (foreign, rule)
    assert all(name in sets.describe() for name in foreign)
    kept = sets.train.index.labels(sets.train.ids)
    assert sets.train.renumber(kept).tolist() == kept.tolist()


def test_a_named_class_without_images_is_one_that_training_lacks(tmp_path: Path) -> None:
    """What nobody can know is not scored, though both sets have a name for it."""
    train, test = (
        write_set(tmp_path / "train", ["a", "b"]),
        write_set(tmp_path / "test", ["a", "b"]),
    )
    index = ShardIndex.open(train)
    index.records = np.array(index.records)
    index.records["label"][1] = -1
    sets = label_sets(index, ShardIndex.open(test))
    assert sets.test.ids.tolist() == [0]
    assert (sets.num_classes, sets.test.foreign) == (1, {"b": 1})


@pytest.mark.parametrize(("train", "test", "words"), [
    ([None, -1], [0], "need labels, got none in {tmp}/train"),
    ([0], [None], "need labels, got none in {tmp}/test"),
    (["a", "b"], ["x", "y"], r"by name\), got a, b in {tmp}/train and x, y in {tmp}/test; pack"),
    ([0, 1], [2, 3], r"by number\), got 0, 1 in {tmp}/train and 2, 3 in"),
    (["a", "b"], [1, 2], "by number, got number 2 for the 2 classes of {tmp}/train; pack both"),
    ([0, 5], ["a", "b"], "by number, got number 5 for the 2 classes of {tmp}/test; pack both"),
])  # fmt: skip
def test_sets_without_a_common_class_are_refused(
    train: Labels, test: Labels, words: str, tmp_path: Path
) -> None:
    """One line that names some classes of both sets and where they are."""
    with pytest.raises(DataError, match=words.format(tmp=tmp_path)):
        sets_of(tmp_path, train, test)


def test_one_name_for_two_classes_is_refused(tmp_path: Path) -> None:
    """Unless both sets have the same list: then the numbers agree, whatever the names are."""
    folders = write_set(tmp_path / "train", ["a", "b"]), write_set(tmp_path / "test", ["a", "b"])
    train, test = (ShardIndex.open(folder) for folder in folders)
    train.classes = ("a", "a")
    with pytest.raises(DataError, match="names of their own, got 2 called a in"):
        label_sets(train, test)
    test.classes = train.classes
    assert label_sets(train, test).test.ids.tolist() == [0, 1]


def run_on(tmp_path: Path, train: Path, test: Path, **changes: Any) -> Path:
    """A run of one step, its folder."""
    settings = {"data": str(test), "k": 5, "every_epochs": 100.0}
    config = tiny_config(train, loop={"epochs": 0.4, "batch_size": 8}, eval=settings, **changes)
    (tmp_path / "tiny.yaml").write_text(to_yaml(config))
    assert run(["--config", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_the_commands_score_what_is_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quarter labelled, other classes and order: kNN, probe, fine-tuning, and what they say."""
    # What an image shows decides: of the unlabelled ones it is the other class's colour.
    train = write_set(
        tmp_path / "train",
        ["red", None, None, "blue"] * 6,
        [0, 2, 0, 2] * 6,
    )
    test = write_set(
        tmp_path / "test",
        ["blue", "aqua", None, "red"] * 3,
        [2, 1, 3, 0] * 3,
        seed=1,
    )
    folder = run_on(tmp_path, train, test)
    shown = capsys.readouterr()
    said = (
        "12 training and 6 held-out images, 16 px; classes by name; left out: 12 training and "
        "3 held-out images without a label, 3 held-out images of classes that training lacks (aqua)"
    )
    assert said in shown.err
    assert [r["knn"] for r in read_metrics(folder) if "knn" in r] == [1.0, 1.0]
    scores = tmp_path / "scores.json"
    assert evaluate([str(folder), "--k", "50", "--baselines", "--json", str(scores)]) == 0
    assert said.partition("; ")[2] in capsys.readouterr().out.replace("\n", " ")
    found = json.loads(scores.read_text())
    assert {
        "train_images": 12, "train_unlabelled": 12, "test_images": 6, "test_unlabelled": 3,
        "test_foreign": {"aqua": 3}, "classes": 2, "classes_matched": "by name", "k": 12,
        "largest_class": 0.5,
    }.items() <= found["conditions"].items()  # fmt: skip
    assert [row["linear"] for row in found["scores"]] == [1.0, 1.0, 1.0]
    assert found["scores"][2]["knn"] == 1.0
    argv = [str(folder), "--finetune", "1", "--finetune-epochs", "20", "--json", str(scores)]
    assert evaluate(argv) == 0
    tuned = json.loads(scores.read_text())["finetune"]
    assert (tuned["images"], tuned["test_images"], tuned["accuracy"]) == (12, 6, 1.0)
    assert said.partition("; ")[2] in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(("train", "test"), [
    ([0] + [None] * 19, [0, None]),  # one labelled image, fewer than k and than classes
    ([0] * 3 + [4] + [None] * 16, [4, 4]),  # numbers without images, a single held-out class
    ([7] * 4 + [None] * 16, [7]),
])  # fmt: skip
def test_few_labels_are_enough(train: Labels, test: Labels, tmp_path: Path) -> None:
    """The nearest neighbour is of the right colour, and the probe has a number, for each."""
    folder = run_on(
        tmp_path,
        write_set(tmp_path / "train", train, [(label or 0) % 3 for label in train]),
        write_set(tmp_path / "test", test, [(label or 0) % 3 for label in test], seed=1),
    )
    scores = tmp_path / "scores.json"
    assert evaluate([str(folder), "--k", "1", "--baselines", "--json", str(scores)]) == 0
    rows = json.loads(scores.read_text())["scores"]
    assert [(row["knn"], row["linear"]) for row in rows] == [(1.0, 1.0)] * 3


def test_fine_tuning_needs_two_images_and_numbers_for_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One labelled image, or class numbers that are ids of something, are one line."""
    test = write_set(tmp_path / "test", [0, 2_000_000_000], [0, 1], seed=1)
    folder = run_on(tmp_path, write_set(tmp_path / "train", [0] + [None] * 19), test)
    capsys.readouterr()
    assert evaluate([str(folder), "--finetune", "1"]) == 1
    assert "needs two labelled images (batch norm), got 1 in" in capsys.readouterr().err
    large = write_set(tmp_path / "large", [0, 2_000_000_000] * 2, [0, 1] * 2)
    assert evaluate([str(folder), "--data", str(large), "--k", "1"]) == 0
    assert evaluate([str(folder), "--data", str(large), "--finetune", "1"]) == 1
    error = capsys.readouterr().err
    assert "fine-tuning takes class numbers below 1,000,000, got 2000000000 in" in error
