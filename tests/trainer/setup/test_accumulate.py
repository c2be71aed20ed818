"""Several forwards a step are the same step, for the losses that allow it; the others refuse."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config

from shards.errors import UsageError
from trainer import checkpoint
from trainer.methods.method_table import METHODS
from trainer.recipes.recipe import as_mapping, resolve
from trainer.record.samplelog import count_ids
from trainer.run import main as run
from trainer.settings.strict import merge
from trainer.train import train

REFUSES = {
    "barlow", "dcl", "dclw", "empssl", "fastmoco", "lejepa", "mmcr", "mocov3", "nnclr", "relic",
    "simclr", "sslhsic", "tico", "vicreg", "wmse",
}  # fmt: skip


def accumulating(folder: Path, name: str, accumulate: int, **changes: Any) -> Any:
    loop = {"epochs": 1.0, "batch_size": 8, "accumulate": accumulate}
    return resolve(merge(as_mapping(tiny_config(folder, name, loop=loop)), changes))


def trained(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.find(run))["method"]


def test_parts_add_up_to_the_batch(shard_folder: Path, tmp_path: Path) -> None:
    """Without batch norm, weights after four steps are those of whole batches; ids are too."""
    settings = {
        "backbone": {"arch": "vit_tiny4", "width": 1.0, "stem": "auto"},
        "method": {"num_negatives": 0},
        "optim": {"name": "sgd", "base_lr": 0.1, "warmup_epochs": 0.0},
        "run": {"record_ids": True},
    }
    for k in (1, 2, 4):
        train(accumulating(shard_folder, "instdisc", k, **settings), tmp_path / str(k))
    whole = trained(tmp_path / "1")
    for k in (2, 4):
        parts = trained(tmp_path / str(k))
        for name, value in whole.items():
            torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-5)
        assert count_ids(tmp_path / str(k)) == count_ids(tmp_path / "1")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_loss_over_the_batch_refuses_to_be_split(
    method: str, shard_folder: Path, tmp_path: Path
) -> None:
    """One line before anything is written; every other method trains."""
    # 16: MoCo's four groups of a forward need two images each.
    config = accumulating(shard_folder, method, 2, loop={"batch_size": 16})
    if method in REFUSES:
        with pytest.raises(UsageError, match=rf"for {method}, .*it would see 8 of 16 images"):
            train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    else:
        assert train(config, tmp_path / "run").step == 2


@pytest.mark.parametrize(
    ("method", "settings"), [("swav", {"queue_length": 0}), ("simclr", {"queue_length": 0})]
)
def test_without_a_queue_they_refuse(
    method: str, settings: dict[str, int], shard_folder: Path, tmp_path: Path
) -> None:
    """SwAV's balance and SimCLR's candidates are then the forward's images alone."""
    with pytest.raises(UsageError, match="from all images of a forward"):
        train(accumulating(shard_folder, method, 2, method=settings), tmp_path / "run")


def test_simclr_with_a_memory_accumulates(shard_folder: Path, tmp_path: Path) -> None:
    """Its candidates come from the queue."""
    config = accumulating(shard_folder, "simclr", 2, method={"queue_length": 24})
    assert train(config, tmp_path / "run").step == 4


def test_a_batch_that_cannot_be_shared_is_one_line(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, both neighbours that would do, nothing written."""
    argv = ["--data", str(shard_folder), "--batch-size", "8", "--device", "cpu"]
    argv += ["--method", "byol", "--arch", "resnet10", "--sizes", "16", "--views", "2"]
    assert run([*argv, "--out", str(tmp_path / "run"), "loop.accumulate=3"]) == 2
    error = capsys.readouterr().err
    assert "ranks x loop.accumulate, 1 x 3, got 8; try 6 or 9" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "accumulate", "words"),
    [
        ("mocov2", 2, "moco groups divides the 4 images of a forward into parts of 2 or more, and"),
        ("byol", 8, "batch norm needs two images a forward, got 1; lower loop.accumulate"),
    ],
)
def test_parts_too_small_for_batch_norm_are_refused(
    method: str, accumulate: int, words: str, shard_folder: Path, tmp_path: Path
) -> None:
    """MoCo's four groups of a forward of four have one image each; a forward of one has no norm."""
    with pytest.raises(UsageError, match=words):
        train(accumulating(shard_folder, method, accumulate), tmp_path / "run")
    assert not (tmp_path / "run").exists()
