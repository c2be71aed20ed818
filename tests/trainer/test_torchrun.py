"""torchrun starts a run's ranks again after a crash, and the run goes on from its checkpoint."""

from pathlib import Path

import pytest
from tiny_run import tiny_config
from typed import typed

from trainer import checkpoint
from trainer.recipes.recipe import to_yaml
from trainer.record.samplelog import count_ids


@pytest.mark.slow
def test_a_restart_by_torchrun_continues_the_run(shard_folder: Path, tmp_path: Path) -> None:
    """--max-restarts 1 and the same command line: the end, every (epoch, sample) once.

    No rank takes a thread of the process group into its interpreter's end, where it may abort.
    """
    run, recipe = tmp_path / "run", tmp_path / "tiny.yaml"
    config = tiny_config(
        shard_folder,
        loop={"epochs": 2.2, "batch_size": 8},
        run={"save_every_steps": 2, "record_ids": True, "device": "cpu"},
    )
    recipe.write_text(to_yaml(config))
    said = typed(
        f"torchrun --nproc-per-node 2 --max-restarts 1 -m trainer.run --config {recipe} "
        f"--out {run} --resume auto",
        tmp_path,
        cold=True,
        KILL_AFTER="1:5",
        THREADS=str(tmp_path),
    )
    assert "another rank has ended" in said
    assert checkpoint.load(checkpoint.find(run))["step"] == 10
    counts = count_ids(run)
    assert len(counts) == counts.total() == 80
    threads = [(tmp_path / f"threads-{number}.txt").read_text() for number in range(2)]
    assert all("python" in names and "gloo" not in names for names in threads)
