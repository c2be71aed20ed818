"""A batch that leaves a run next to no steps is said before it, with what to type instead."""

from pathlib import Path

import pytest

from trainer.config import LoopConfig
from trainer.run import main
from trainer.setup.length import FEW_STEPS, warn_of_few_steps


@pytest.mark.parametrize(("batch", "epochs", "images", "typed"), [
    (4096, 4, 7000, "--batch-size 256"),
    (128, 20, 600, "--batch-size 64"),
    (256, 10, 100, "--batch-size 64 --epochs 64"),
    (16, 1, 100, "--epochs 16"),
])  # fmt: skip
def test_few_steps_are_said_with_what_to_type(
    batch: int, epochs: float, images: int, typed: str
) -> None:
    """And what is typed then is enough."""
    loop = LoopConfig(batch_size=batch, epochs=epochs)
    warning = warn_of_few_steps(loop, images)
    assert warning is not None
    assert warning.startswith(f"a run of {int(epochs * images / batch)} steps learns next to")
    assert warning.endswith(f"; type {typed}")
    given = dict(zip(typed.split()[::2], map(int, typed.split()[1::2]), strict=True))
    better = LoopConfig(
        batch_size=given.get("--batch-size", batch), epochs=given.get("--epochs", epochs)
    )
    assert warn_of_few_steps(better, images) is None


def test_enough_steps_need_no_word() -> None:
    """From a hundred on."""
    assert warn_of_few_steps(LoopConfig(batch_size=64, epochs=1), 64 * FEW_STEPS) is None


def test_a_run_says_it_before_it_begins(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning, not a refusal."""
    argv = ["--data", str(shard_folder), "--config", "simclr_demo", "--sizes", "16+8"]
    argv += ["--out", str(tmp_path / "run"), "--epochs", "1", "--batch-size", "16"]
    argv += ["eval.data=null", "backbone.width=0.125", "data.backend=kornia", "run.device=cpu"]
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert "warning: a run of 2 steps learns next to nothing: --batch-size 16 of 37 images" in said
    assert said.index("warning:") < said.index("step 2/2")
