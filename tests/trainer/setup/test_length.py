"""A batch that leaves a run next to no steps is said before it, with what to type instead."""

from pathlib import Path

import pytest

from trainer.config import LoopConfig
from trainer.optim.create_optimizer import OptimSettings
from trainer.run import main
from trainer.setup.length import FEW_STEPS, warn_of_few_steps, warn_of_long_warmup


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


@pytest.mark.parametrize(
    ("warmup", "start", "epochs", "words"),
    [
        (10, 0.0, 5, "10 epochs and the run has 5: it ends at 50% of its peak"),
        (10, 0.5, 5, "it ends at 75% of its peak and never falls; type optim.warmup_epochs=0.5"),
        (0.1, 0.0, 0.1, "it ends at 100% of its peak"),
    ],
)
def test_a_rate_that_only_rises_is_said(
    warmup: float, start: float, epochs: float, words: str
) -> None:
    """As with a paper's warm-up in a short run; what is typed then ends the warning."""
    loop = LoopConfig(epochs=epochs)
    said = warn_of_long_warmup(OptimSettings(warmup_epochs=warmup, warmup_start=start), loop)
    assert said is not None
    assert words in said
    better = OptimSettings(warmup_epochs=float(said.rpartition("=")[2]))
    assert warn_of_long_warmup(better, loop) is None


def test_a_rate_that_falls_again_needs_no_word() -> None:
    """Nor does a run without a warm-up."""
    assert warn_of_long_warmup(OptimSettings(warmup_epochs=10), LoopConfig(epochs=10.1)) is None
    assert warn_of_long_warmup(OptimSettings(warmup_epochs=0), LoopConfig(epochs=0.1)) is None
