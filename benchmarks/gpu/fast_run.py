"""The step of gpu_check.py that trains fast_cifar10_gpu, as anyone types it, and reads its kNN.

CIFAR-10 is not shipped: the step runs where --cifar10 names its shards, and is left out elsewhere.
"""

from pathlib import Path
from typing import Any

from benchmarks.gpu.gpu_command import StepError, succeed
from shards.errors import UsageError
from trainer.record.log import read_metrics

NAME = "fast cifar10"
AIM_KNN = 0.85
MINUTES = 5.0  # of training; kNN scores count in
LIMIT_S = 480.0  # with the start, and kernels that compile
# On a CPU the step itself is tried, not the recipe.
TRIAL_WORDS = (
    *("--epochs", "0.05", "--batch-size", "32", "--arch", "resnet10", "backbone.width=0.125"),
    *("data.cache=none", "eval.max_train_images=500", "eval.max_test_images=500"),
)


def read_sets(text: str | None) -> tuple[str, str] | None:
    """The two folders of --cifar10; UsageError for other text."""
    if text is None:
        return None
    train, _, test = text.partition(",")
    if not (train and test):
        raise UsageError(f"--cifar10 reads TRAIN,TEST, got {text!r}; name two folders of shards")
    for folder in (train, test):
        if not Path(folder).is_dir():
            raise UsageError(
                f"--cifar10 names folders of shards, got no folder {folder}; pack them with "
                "python -m tools.make_shards"
            )
    return train, test


def train_fast(
    sets: tuple[str, str] | None, device: str, folder: Path, limit_s: float
) -> dict[str, Any] | str:
    """Train within MINUTES; the score beside the aim. Only the last score is of the test images."""
    if sets is None:
        return "no CIFAR-10: --cifar10 TRAIN,TEST names its shards"
    if device == "cuda" and limit_s < 60 * MINUTES:
        return f"{MINUTES:g} minutes of training do not fit into {limit_s:.0f} s"
    run = folder / "fast-run"
    words = ["--config", "fast_cifar10_gpu", "--device", device, "--out", run]
    words += ["--data", sets[0], "--eval-data", sets[1]]
    words += ["--minutes", MINUTES] if device == "cuda" else TRIAL_WORDS
    succeed(limit_s, "trainer.run", *words)
    records = read_metrics(run)
    knn = [record["knn"] for record in records if "knn" in record]
    steps = [record for record in records if "loss" in record]
    if len(knn) < 2 or not steps:
        raise StepError(f"a run leaves a score before and one after, got {len(knn)}")
    return {
        "knn": knn[-1],
        "random_knn": knn[0],
        "aim_knn": AIM_KNN,
        "steps": steps[-1]["step"],
        "images_per_s": steps[-1]["images_per_s"],
        "loss": steps[-1]["loss"],
    }
