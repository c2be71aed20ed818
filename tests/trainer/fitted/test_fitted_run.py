"""Runs without --config, as they are typed: fitted, told, kept, and as long as was asked for."""

import re
from pathlib import Path

import pytest
from tiny_sets import write_set
from typed import typed

from trainer.recipes.recipe import read_recipe
from trainer.record.rundir import read_config

SMALL = "--arch resnet10 backbone.width=0.125 --sizes 16"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Sixty images of 40 x 32 pixels in three classes, in a folder with another of twelve."""
    write_set(tmp_path / "train", [i % 3 for i in range(60)])
    write_set(tmp_path / "few", [0] * 12, seed=1)
    write_set(tmp_path / "one", [0], seed=2)
    return tmp_path


@pytest.mark.slow
def test_data_alone_is_enough(shards: Path) -> None:
    """Method, views, encoder and all rates are chosen, each told with its reason, and kept."""
    said = typed(f"python -m trainer.run --data train --minutes 0.05 --out run {SMALL}", shards)
    assert "fitted to 60 images of 32 px, 1 x cpu" in said
    config = read_config(shards / "run")
    told = dict(re.findall(r"([\w.]+)=(\S+?)(?=: | \w+\.)", said.partition("fitted to")[2]))
    assert told["method.name"] == config.method.name == "simclr"
    assert int(told["loop.batch_size"]) == config.loop.batch_size == 32
    assert float(told["loop.epochs"]) == config.loop.epochs
    assert re.search(r"loop.epochs=\S+: 0.05 minutes at [\d,]+ img/s", said)
    head = (shards / "run" / "config.yaml").read_text()
    assert all(f"{key}={value}" in head for key, value in told.items() if "'" not in value)
    again = typed("python -m trainer.run --out run --resume --minutes 5", shards)
    assert "--minutes counts at the start of a run" in again
    assert "already" in again


def test_a_named_recipe_is_taken_as_it_is(shards: Path) -> None:
    """--config and nothing else: not one key is fitted."""
    said = typed("python -m trainer.run --config swav --data train --print-config", shards)
    assert "fitted" not in said
    published = read_recipe("swav")
    assert f"base_lr: {published['optim']['base_lr']}" in said
    assert f"batch_size: {published['loop']['batch_size']}" in said


@pytest.mark.slow
def test_ranks_fit_the_same_and_measure_together(shards: Path) -> None:
    """Two ranks agree on the length that the first one's clock gives, and train to the end."""
    said = typed(
        f"torchrun --nproc-per-node 2 -m trainer.run --data train --minutes 0.05 --out run {SMALL}",
        shards,
    )
    assert "fitted to 60 images of 32 px, 2 x cpu" in said
    assert "steps done" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--data train --minutes 0", "--minutes is positive, got 0"),
        ("--data train --minutes nan", "--minutes is positive, got nan"),
        ("--data train --minutes 1 --epochs 2", "--epochs or --minutes, got both"),
        ("--data one", "at least 2 images, got 1"),
        ("--data train optim.base_lr=x", "optim.base_lr is a finite number"),
        ("--data train --method swv", "unknown method 'swv'"),
        ("--data train policy.groups=5", "policy.groups is"),
        ("--data train backbone.width=0", "backbone.width lies in [0.125, 16], got 0.0"),
        ("--data train backbone.width=-1 --print-config", "backbone.width lies in [0.125, 16]"),
        ("--data train lr=0.1", "got lr=0.1; did you mean optim.base_lr=0.1?"),
        ("--data train batch-size=8", "did you mean loop.batch_size=8 or eval.batch_size=8?"),
        ("--data train backbone.stem=x --print-config", "unknown stem 'x'"),
        ("--data train --views 2+6+1+1", "policy swav describes 2 crop groups"),
    ],
)
def test_what_cannot_be_is_one_line(words: str, line: str, shards: Path) -> None:
    """Before anything is written."""
    said = typed(f"python -m trainer.run {words} --out run", shards, code=2)
    assert len(said.strip().splitlines()) == 1
    assert said.startswith("error: ")
    assert line in said
    assert not (shards / "run").exists()


def test_a_time_too_short_for_a_step_is_one_line(shards: Path) -> None:
    """After the measuring that shows it; nothing is written."""
    said = typed(f"python -m trainer.run --data train --minutes 1e-6 {SMALL} --out run", shards, 2)
    measuring, error = said.strip().splitlines()
    assert measuring.startswith("measuring how fast")
    assert "error: a run has at least one step, got --minutes 1e-06: a step takes" in error
    assert not (shards / "run").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--out train", "--out must be new or empty, got train with files in it"),
        ("--out run run.loggers=[no_logs:Mine]", "logger no_logs:Mine needs a module no_logs"),
    ],
)
def test_no_pace_is_measured_of_a_run_that_cannot_be(words: str, line: str, shards: Path) -> None:
    """A folder with files and a logger that is not there are said at once."""
    said = typed(f"python -m trainer.run --data train --minutes 1 {SMALL} {words}", shards, 2)
    assert len(said.strip().splitlines()) == 1
    assert line in said
    assert not (shards / "run").exists()


def test_twelve_images_of_one_class_train(shards: Path) -> None:
    """In a batch that they fill, with a word about the few steps."""
    said = typed(f"python -m trainer.run --data few --epochs 2 --out run {SMALL}", shards)
    assert read_config(shards / "run").loop.batch_size == 12
    assert "learns next to nothing" in said
