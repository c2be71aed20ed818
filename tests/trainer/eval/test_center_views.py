"""Images that cannot be read are left out of every score, counted by the run's keys, and listed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import tiny_config
from tiny_sets import write_set

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from shards.errors import DataError
from shards.index import ShardIndex
from trainer.eval.center_views import CenterViews
from trainer.eval.labelled import LabelledSets, label_sets
from trainer.evaluate import main as evaluate
from trainer.recipes.recipe import to_yaml
from trainer.record.jsonlines import read_lines
from trainer.record.samplelog import describe_bad_samples
from trainer.run import main as run
from trainer.train import train

CPU = torch.device("cpu")
LABELS = [i % 3 for i in range(20)]


def views_of(tmp_path: Path, *, torn: Any = (), **data: Any) -> tuple[CenterViews, LabelledSets]:
    """Views of a damaged held-out set of 20 images, and the sets."""
    index = ShardIndex.open(write_set(tmp_path / "train", LABELS))
    test = ShardIndex.open(write_set(tmp_path / "test", LABELS, seed=1, torn=torn))
    data = {"train": "x", "backend": "kornia", "decoder": "pillow", "workers": 1, **data}
    config = tiny_config(tmp_path / "train", data=data, eval={"batch_size": 8})
    backend = create_backend("kornia", CPU, num_threads=1)
    decoder = create_decoder("pillow", CPU, num_threads=1)
    views = CenterViews(config.eval, config.data, config.policy.load(), backend, decoder)
    return views, label_sets(index, test)


def test_a_bad_image_is_left_out_not_replaced(tmp_path: Path) -> None:
    """Its label is nobody else's; it is said with its set, once for any number of rounds."""
    views, sets = views_of(tmp_path, torn=(3, 11), bad_budget=0.5)
    for _ in range(2):
        batches = list(views(sets.test))
        ids = np.concatenate([batch.ids for batch in batches])
        assert ids.tolist() == [i for i in range(20) if i not in (3, 11)]
        labels = np.concatenate([batch.labels for batch in batches])
        assert labels.tolist() == [LABELS[i] for i in ids]
    assert list(views.bad) == [("eval", 3), ("eval", 11)]
    assert (views.num_left_out("train"), views.num_left_out("eval")) == (0, 2)
    said = "classes by number; left out: 2 held-out images that cannot be read"
    assert views.describe(sets) == said


@pytest.mark.parametrize(("data", "words"), [
    ({}, "at most 1 of 20 samples of {tmp}/test may be bad"),
    ({"bad_budget": 0.5, "on_bad": "fail"}, "at most 0 of 8 samples of {tmp}/test may be bad"),
    ({"bad_budget": 0.0}, "at most 0 of 8 samples of {tmp}/test may be bad"),
])  # fmt: skip
def test_the_budget_of_the_run_holds(data: dict[str, Any], words: str, tmp_path: Path) -> None:
    """By default two of twenty are too many; with on_bad=fail one is."""
    views, sets = views_of(tmp_path, torn=(3, 19), **data)
    with pytest.raises(DataError, match=words.format(tmp=tmp_path)):
        list(views(sets.test))


def test_a_set_of_bad_images_is_one_line(tmp_path: Path) -> None:
    """Also where the budget allows it, there is nothing to score."""
    views, sets = views_of(tmp_path, torn=range(20), bad_budget=1.0)
    with pytest.raises(DataError, match=r"got none of 20 in .*test; check the data with"):
        list(views(sets.test))


@pytest.mark.parametrize("verify", [False, True])
def test_checksums_are_checked_when_asked_for(verify: bool, tmp_path: Path) -> None:
    """data.verify finds what decodes and is not what was packed."""
    views, sets = views_of(tmp_path, verify=verify)
    records = np.array(sets.test.index.records)
    records["crc32"][5] ^= 1
    sets.test.index.records = records
    assert sum(batch.batch_size for batch in views(sets.test)) == 20 - verify
    assert set(views.bad) == ({("eval", 5)} if verify else set())


def test_a_run_lists_what_its_evaluations_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RUN/bad-samples-rank0.jsonl tells the sets apart; the end counts both."""
    shards = write_set(tmp_path / "train", LABELS, torn=(4,))
    test = write_set(tmp_path / "test", LABELS, seed=1, torn=(2, 4))
    config = tiny_config(
        shards,
        data={"train": str(shards), "bad_budget": 0.5},
        loop={"epochs": 1, "batch_size": 10},
        eval={"data": str(test), "k": 3, "every_epochs": 0.5},
    )
    (tmp_path / "tiny.yaml").write_text(to_yaml(config))
    out = tmp_path / "run"
    assert run(["--config", str(tmp_path / "tiny.yaml"), "--out", str(out)]) == 0
    lines = read_lines(out / "bad-samples-rank0.jsonl")
    evaluated = [(r["data"], r["id"]) for r in lines if r["substitute"] is None]
    assert evaluated == [("train", 4), ("eval", 2), ("eval", 4)]
    assert [(r["data"], r["id"]) for r in lines if r["substitute"] is not None] == [("train", 4)]
    said = f"3 bad samples (2 of the evaluation data), listed in {out}/bad-samples-rank*.jsonl"
    assert describe_bad_samples(out) == said
    shown = capsys.readouterr()
    assert said in shown.out
    words = "19 training and 18 held-out images, 16 px; classes by number; left out: 1 training and"
    assert f"{words} 2 held-out images that cannot be read" in shown.err


def test_what_stops_an_evaluation_is_listed(tmp_path: Path) -> None:
    """Over the budget: the list holds what was met on the way there."""
    shards = write_set(tmp_path / "train", LABELS)
    test = write_set(tmp_path / "test", LABELS, seed=1, torn=(2, 4))
    config = tiny_config(shards, loop={"epochs": 1, "batch_size": 10}, eval={"data": str(test)})
    with pytest.raises(DataError, match="test may be bad"):
        train(config, tmp_path / "run")
    lines = read_lines(tmp_path / "run" / "bad-samples-rank0.jsonl")
    assert [(r["step"], r["data"], r["id"]) for r in lines] == [(0, "eval", 2), (0, "eval", 4)]


def test_the_commands_take_the_budget_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """trainer.evaluate, also --finetune: counts and names stand in the line and in the JSON."""
    shards = write_set(tmp_path / "train", LABELS, torn=(0, 1, 2))
    test = write_set(tmp_path / "test", LABELS, seed=1, torn=(5, 6))
    data = {"train": str(shards), "bad_budget": 0.5, "backend": "kornia", "decoder": "pillow"}
    config = tiny_config(shards, data=data, loop={"epochs": 1, "batch_size": 10})
    train(config, tmp_path / "run")
    scores = tmp_path / "scores.json"
    argv = [str(tmp_path / "run"), "--eval-data", str(test), "--json", str(scores)]
    assert evaluate(argv) == 0
    said = "left out: 3 training and 2 held-out images that cannot be read"
    assert said in capsys.readouterr().out.replace("\n", " ")
    found = json.loads(scores.read_text())
    expected = {"train_images": 17, "train_bad": 3, "test_images": 18, "test_bad": 2, "k": 17}
    assert expected.items() <= found["conditions"].items()
    bad = [(row["data"], row["id"]) for row in found["bad_samples"]]
    assert bad == [("train", 0), ("train", 1), ("train", 2), ("eval", 5), ("eval", 6)]
    assert evaluate([*argv, "--finetune", "1", "--finetune-epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "top-1 on 18 held-out images, after 1 epoch of 20 labelled ones (1 of all; 3 bad" in out
    found = json.loads(scores.read_text())
    assert found["finetune"]["bad_images"] == 3
    assert all(row["substitute"] is not None for row in found["bad_samples"][:3])
    config_file = tmp_path / "run" / "config.yaml"
    config_file.write_text(config_file.read_text().replace("on_bad: substitute", "on_bad: fail"))
    capsys.readouterr()
    assert evaluate([*argv, "--finetune", "1", "--finetune-epochs", "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: at most 0 of ")
    assert f" samples of {shards} may be bad" in error
