"""torchrun starts a run's ranks again after a crash, and the run goes on from its checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import tiny_config

from trainer import checkpoint
from trainer.idlog import count_ids
from trainer.recipe import to_yaml

HERE = Path(__file__).parent


@pytest.mark.slow
def test_a_restart_by_torchrun_continues_the_run(shard_folder: Path, tmp_path: Path) -> None:
    """--max-restarts 1 and the same command line: the end, every (epoch, sample) once."""
    run, recipe = tmp_path / "run", tmp_path / "tiny.yaml"
    config = tiny_config(
        shard_folder,
        loop={"epochs": 2.2, "batch_size": 8},
        run={"save_every_steps": 2, "record_ids": True, "device": "cpu"},
    )
    recipe.write_text(to_yaml(config))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "--max-restarts", "1", str(HERE / "dying_run.py")]
    done = subprocess.run(
        [*torchrun, "--config", str(recipe), "--out", str(run), "--resume", "auto"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "another rank has ended" in done.stderr
    assert checkpoint.load(checkpoint.find(run))["step"] == 10
    counts = count_ids(run)
    assert len(counts) == counts.total() == 80
