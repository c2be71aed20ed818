"""Eight ranks by torchrun on a tiny set, whoever dies; and two whose networks are compiled."""

import random
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from tiny_run import tiny_config
from typed import typed

from trainer import checkpoint
from trainer.recipes.recipe import to_yaml
from trainer.record.log import read_metrics
from trainer.record.samplelog import count_ids

RANKS, STEPS, BATCH = 8, 8, 16
NUM_IMAGES = 37


def digests(folder: Path) -> dict[int, set[str]]:
    """By the step of a save: the weights that ranks had; all ranks that saved it wrote a line."""
    found: dict[int, set[str]] = defaultdict(set)
    for rank in range(RANKS):
        for line in (folder / f"{rank}.txt").read_text().splitlines():
            step, digest = line.split()
            found[int(step)].add(digest)
    return dict(found)


@pytest.mark.long
def test_eight_ranks_are_one_run_whoever_is_killed(shard_folder: Path, tmp_path: Path) -> None:
    """A rank dies at a random moment, torchrun starts all again: every (epoch, sample) comes once.

    All ranks hold the same weights, bit for bit, whenever they save; they share the evaluation.
    """
    run, recipe = tmp_path / "run", tmp_path / "tiny.yaml"
    config = tiny_config(
        shard_folder,
        loop={"epochs": STEPS * BATCH / NUM_IMAGES + 0.01, "batch_size": BATCH},
        eval={"data": str(shard_folder), "k": 3, "every_epochs": 100, "batch_size": 4},
        run={"save_every_steps": 2, "record_ids": True, "device": "cpu"},
    )
    recipe.write_text(to_yaml(config))
    # Another one every time; it stands in the message of a failure.
    draw = random.SystemRandom()
    kill = f"{draw.randrange(RANKS)}:{draw.randrange(1, STEPS // 2)}:{draw.uniform(0, 0.3):.3f}"
    said = typed(
        f"torchrun --nproc-per-node {RANKS} --max-restarts 1 -m trainer.run --config {recipe} "
        f"--out {run} --resume auto",
        tmp_path,
        KILL_AFTER=kill,
        DIGESTS=str(tmp_path),
    )
    assert "another rank has ended" in said, kill
    assert checkpoint.load(checkpoint.find(run))["step"] == STEPS, kill
    counts = count_ids(run)
    assert len(counts) == counts.total() == STEPS * BATCH, kill
    found = digests(tmp_path)
    assert STEPS in found, kill
    assert all(len(weights) == 1 for weights in found.values()), (kill, found)
    assert len(set.union(*found.values())) == len(found), kill
    knn = {r["step"]: r["knn"] for r in read_metrics(run) if "knn" in r}
    assert list(knn) == [0, STEPS], kill


@pytest.mark.long
def test_compiled_networks_train_behind_ddp(shard_folder: Path, tmp_path: Path) -> None:
    """Inductor's code on two ranks: the losses of two ranks without it, and the names of weights.

    MoCo's, whose ranks share no batch statistics, so that all networks are compiled.
    """
    losses, states = [], []
    for is_compiled in (False, True):
        recipe, run = tmp_path / f"{is_compiled}.yaml", tmp_path / f"run-{is_compiled}"
        config = tiny_config(
            shard_folder,
            "mocov2",
            loop={"epochs": 0.9, "batch_size": 8, "compile": is_compiled},
            run={"log_every": 1, "device": "cpu"},
        )
        recipe.write_text(to_yaml(config))
        said = typed(
            f"torchrun --nproc-per-node 2 -m trainer.run --config {recipe} --out {run}",
            tmp_path,
            limit_s=3000,  # of a machine that does much else: the compiler takes a minute alone
        )
        assert ("loop.compile: backbone, " in said) == is_compiled
        assert "as written" not in said
        losses.append([r["loss"] for r in read_metrics(run) if "loss" in r])
        states.append(checkpoint.load(checkpoint.find(run))["method"])
    assert len(losses[0]) == len(losses[1]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert states[0].keys() == states[1].keys()
    moved = [name for name in states[0] if name.startswith("backbone.") and "running" in name]
    assert moved
    for name in moved:
        torch.testing.assert_close(states[1][name], states[0][name], rtol=1e-2, atol=1e-3)
