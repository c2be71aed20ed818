"""A notebook's words give what the command's give, and a loop of one's own trains as a run does."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_loader import assert_equal_views
from tiny_run import tiny_config
from torch import nn

import augengine
import trainer
from augengine.policies import load_policy
from shards.errors import DataError, UsageError
from trainer.command.build_run import Run, build_run
from trainer.command.command_config import resolve_config
from trainer.optim.create_optimizer import set_schedules
from trainer.recipes.recipe import as_mapping, resolve, to_yaml
from trainer.run import _parse
from trainer.settings.strict import merge
from trainer.step import forward
from trainer.train import train


def own_losses(run: Run) -> Iterator[float]:
    """The README's loop."""
    with run.loader() as loader:
        for step, views in zip(range(run.total_steps), loader, strict=False):
            progress = run.progress(step)
            set_schedules(run.optimizer, run.config.optim, progress)
            run.optimizer.zero_grad()
            loss = forward(run.method, run, views, progress).loss
            loss.backward()
            run.method.before_optimizer(progress)
            run.optimizer.step()
            run.method.after_step(progress)
            yield loss.item()


@pytest.mark.parametrize(
    ("method", "terms"),
    [("byol", ()), ("swav", ()), ("simclr", ("compress",))],  # compress draws in every step
)
def test_an_own_loop_repeats_a_run(
    shard_folder: Path, tmp_path: Path, method: str, terms: tuple[str, ...]
) -> None:
    """Loss by loss, bit for bit."""
    config = tiny_config(shard_folder, method, loop={"epochs": 2.0, "batch_size": 8})
    config = resolve(merge(as_mapping(config), {"method": {"terms": list(terms)}}))
    train(config, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [record["loss"] for line in lines if "loss" in (record := json.loads(line))]
    assert len(losses) == 9
    assert list(own_losses(build_run(config))) == losses


def test_an_own_loop_in_half_precision(shard_folder: Path) -> None:
    """`forward` takes the run's precision, in which the loader makes its views."""
    run = build_run(tiny_config(shard_folder, "byol"), "loop.precision=bf16", epochs=1)
    losses = list(own_losses(run))
    assert len(losses) == 4
    assert np.isfinite(losses).all()


WORDS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("--method byol --epochs 1 --batch-size 8", {"method": "byol", "epochs": 1}, ()),
    (
        "--config swav_cifar --views 2+2 --sizes 16+8 --epochs 2 --batch-size 8 optim.base_lr=0.3",
        {"config": "swav_cifar", "views": (2, 2), "sizes": [16, 8], "epochs": np.float64(2)},
        ("optim.base_lr=0.3",),
    ),
    (
        "--policy simclr --views 2 --sizes 16 --arch resnet10 --seed 3 --epochs 1 --batch-size 8",
        {"policy": "simclr", "views": 2, "sizes": 16, "arch": "resnet10", "seed": 3, "epochs": 1.0},
        (),
    ),
]


@pytest.mark.parametrize(("typed", "given", "overrides"), WORDS, ids=lambda value: str(value)[:20])
def test_words_mean_what_they_mean_to_the_command(
    shard_folder: Path, typed: str, given: dict[str, Any], overrides: tuple[str, ...]
) -> None:
    """The same config, key by key, and the same notes on how it came to be."""
    with ExitStack() as stack:
        args = _parse([*typed.split(), "--data", str(shard_folder), "--device", "cpu"])
        expected, notes = resolve_config(args, stack)
    config = given.get("config")
    flags = {key: value for key, value in given.items() if key != "config"}
    run = build_run(config, *overrides, data=shard_folder, batch_size=8, device="cpu", **flags)
    assert as_mapping(run.config) == as_mapping(expected)
    assert len(run.notes) >= len(notes)
    assert [note.split()[0] for note in run.notes[: len(notes)]] == [n.split()[0] for n in notes]


def test_a_config_has_many_forms(shard_folder: Path, tmp_path: Path) -> None:
    """A config, its mapping, its file, or a run's folder; more words lie on top of each."""
    config = tiny_config(shard_folder, "simclr")
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    forms = [config, as_mapping(config), tmp_path / "config.yaml", str(tmp_path)]
    for form in forms:
        assert build_run(form).config == config
        changed = build_run(form, "loop.precision=fp32", epochs=3).config
        assert (changed.loop.epochs, changed.loop.precision) == (3, "fp32")
        assert changed.policy == config.policy


def test_its_views_are_those_of_open_views(shard_folder: Path) -> None:
    """Of the same data, policy, batch and seed."""
    words: dict[str, Any] = {"views": "2+1", "sizes": "16+8", "batch_size": 8, "seed": 5}
    run = build_run("swav", data=shard_folder, arch="resnet10", epochs=1, device="cpu", **words)
    with run.loader() as ours, augengine.open_views(
        shard_folder, "swav", device="cpu", **words
    ) as theirs:  # fmt: skip
        assert_equal_views([next(ours) for _ in range(3)], [next(theirs) for _ in range(3)])


def test_it_is_found_in_trainer() -> None:
    """`from trainer import build_run`, without an import of torch before it is asked for."""
    assert trainer.build_run is build_run
    assert {"build_run"} <= set(trainer.__all__) <= set(dir(trainer))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        trainer.no_such_name  # noqa: B018


WRONG: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    ("swavv", (), {}, "did you mean swav?"),
    ("nofile.yaml", (), {}, "no file nofile.yaml"),
    (3, (), {}, "config is a recipe's name"),
    (None, ({"optim.base_lr": 1},), {}, "a text key=value"),
    (None, ("optim.base_lr",), {}, "reads key=value"),
    (None, ("optim.base_lr=x",), {}, "a finite number"),
    (None, (), {"lr": 0.1}, 'write "optim.base_lr=0.1"'),
    (None, (), {"epoch": 1}, "did you mean epochs?"),
    (None, (), {"bogus": 1}, "it takes data, eval_data"),
    (None, (), {"method": "swavv"}, "did you mean swav?"),
    (None, (), {"method": "byol_demo"}, "give config byol_demo"),
    (None, (), {"minutes": 1}, "epochs or minutes, got both"),
    (None, (), {"minutes": "ten"}, "minutes is a number"),
    (None, (), {"views": "2-6"}, "views needs counts"),
    (None, (), {"views": 1}, "try views 2"),
    (None, (), {"batch_size": 4000}, "try batch_size 9"),
    (None, (), {"arch": "resnet51"}, "did you mean resnet50?"),
    (None, (), {"device": "gpu"}, "did you mean cuda?"),
    (None, (), {"data": "nowhere"}, "nothing there"),
    (
        None,
        (),
        {"policy": load_policy("byol")},
        "policy is a text, a path or a number, got a P",
    ),
    (None, (), {"method": nn.Linear}, "got the class Linear; write what stands behind method on a"),
]


@pytest.mark.parametrize(("config", "overrides", "flags", "words"), WRONG, ids=str)
def test_what_cannot_be_is_one_line(
    shard_folder: Path, config: Any, overrides: tuple, flags: dict[str, Any], words: str
) -> None:
    """Rule, value and remedy in the words of a call, with no other error behind it."""
    given = {"data": shard_folder, "epochs": 1, "batch_size": 8, **flags}
    with pytest.raises((UsageError, DataError)) as caught:
        build_run(config, *overrides, **given)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert "--" not in message.replace("--list", "")
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_arguments_may_be_what_programs_have(shard_folder: Path) -> None:
    """A device, a path, numbers of numpy; a tuple of terms, one with its settings."""
    words: dict[str, Any] = {"data": shard_folder, "views": (2,), "sizes": np.array(16)}
    words |= {"method": "byol", "arch": "resnet10", "epochs": np.int64(1), "batch_size": 8}
    terms = ("hsic", {"name": "augself", "weight": 0.5})
    run = build_run(**words, terms=terms, device=torch.device("cpu"))
    first, second = run.config.method.terms
    assert (first["name"], second["name"], second["weight"]) == ("hsic", "augself", 0.5)
    assert run.config.run.device == "cpu"
    assert run.method.training


def test_a_warning_speaks_of_arguments(shard_folder: Path) -> None:
    """A run of four steps that warms up for longer: what to write is not a flag."""
    run = build_run(tiny_config(shard_folder, "simclr"), epochs=1)
    assert run.total_steps == 4
    few, rising = run.warnings
    assert "batch_size 8" in few
    assert "optim.warmup_epochs=0.1" in rising
    assert "--" not in few + rising
    assert run.method.training
    assert all(p.device.type == "cpu" for p in run.method.parameters())
    assert torch.is_grad_enabled()
