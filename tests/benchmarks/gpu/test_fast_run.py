"""The GPU check's run of fast_cifar10_gpu: what it types, leaves out and refuses."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import fast_run
from benchmarks.gpu.gpu_command import StepError
from shards.errors import UsageError
from trainer.recipes.recipe import read_recipe, resolve


def test_it_trains_the_recipe_and_reads_its_scores(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real command on a few images on the CPU; the score stands beside the aim."""
    from trainer import run

    typed: list[str] = []

    def in_this_process(limit_s: float, module: str, *arguments: object) -> None:
        typed.extend(map(str, arguments))
        assert (module, run.main([*typed, "--batch-size", "16", "--epochs", "1"])) == (
            "trainer.run", 0,
        )  # fmt: skip

    monkeypatch.setattr(fast_run, "succeed", in_this_process)
    sets = (str(shard_folder), str(shard_folder))
    found = fast_run.train_fast(sets, "cpu", tmp_path, 60)
    assert isinstance(found, dict)
    assert found["aim_knn"] == 0.85
    assert 0 <= found["random_knn"] <= 1
    assert found["steps"] > 0
    assert typed[:2] == ["--config", "fast_cifar10_gpu"]


def test_on_a_gpu_the_time_is_what_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes within those that are left; less than that, and nothing is begun."""
    typed: list[object] = []
    monkeypatch.setattr(fast_run, "succeed", lambda _, __, *words: typed.extend(words))
    monkeypatch.setattr(fast_run, "read_metrics", lambda _: [])
    with pytest.raises(StepError, match="a score before and one after, got 0"):
        fast_run.train_fast(("a", "b"), "cuda", tmp_path, 480)
    assert typed[-2:] == ["--minutes", 5.0]
    typed.clear()
    left_out = fast_run.train_fast(("a", "b"), "cuda", tmp_path, 200)
    assert left_out == "5 minutes of training do not fit into 200 s"
    assert not typed


def test_without_cifar10_it_is_left_out(tmp_path: Path) -> None:
    """In a sentence that says how to name it."""
    said = fast_run.train_fast(None, "cuda", tmp_path, 480)
    assert said == "no CIFAR-10: --cifar10 TRAIN,TEST names its shards"


@pytest.mark.parametrize(
    ("text", "message"),
    [("one", "reads TRAIN,TEST"), (",b", "reads TRAIN,TEST"), ("no/a,no/b", "no folder no/a")],
)
def test_wrong_sets_are_a_line(text: str, message: str) -> None:
    """Before anything is trained."""
    with pytest.raises(UsageError, match=message):
        fast_run.read_sets(text)


def test_the_makefile_types_the_step_and_its_time() -> None:
    """Alone, within ten minutes, where CIFAR10 says which sets; without it the whole check."""
    root = Path(fast_run.__file__).parents[2]

    def printed(*words: str) -> str:
        command = ["make", "-n", "gpu-check", *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout

    wanted = "--only 'fast cifar10' --minutes 10 --cifar10 a,b"
    assert wanted in printed("CIFAR10=a,b")
    assert "--only" not in printed()


def test_the_recipe_is_for_one_gpu() -> None:
    """Images stay decoded on the GPU, and the run is in bf16 there."""
    config: Any = resolve(read_recipe("fast_cifar10_gpu"))
    assert config.data.cache == "gpu"
    assert config.loop.precision == "auto"
