"""A run on several sets: exact shares, exact resume at every step, changed weights, two ranks."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ranks import run_ranks
from test_resume import assert_equal, cut, final_state, losses
from tiny_run import tiny_config
from tiny_sets import write_set
from typed import typed

from shards.errors import UsageError
from shards.mixture.mixed_index import MixedIndex
from trainer.build import build_parts
from trainer.config import TrainConfig
from trainer.methods.method_table import METHODS
from trainer.recipes.recipe import to_yaml
from trainer.record.rundir import read_config
from trainer.record.samplelog import count_ids
from trainer.record.starts import read_starts
from trainer.train import train

pytestmark = pytest.mark.usefixtures("weighed_once")

SIZES = (20, 24)  # of a and b; an epoch of a and b:0.5 is 32, 4 steps of 8


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sets a and b of 20 and 24 images, and a labelled one, val."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / "a", [i % 3 for i in range(SIZES[0])], seed=1)
    write_set(folder / "b", [i % 3 for i in range(SIZES[1])], seed=2)
    write_set(folder / "val", [i % 3 for i in range(9)], seed=3)
    return folder


def config_of(
    sets: Path, *names: str, method: str = "swav", epochs: float = 3, **changes: Any
) -> TrainConfig:
    train = [str(sets / name) for name in names]
    data = {"train": train, "backend": "fused", "decoder": "pillow", "workers": 1}
    run = {"log_every": 1, "keep": 100, "device": "cpu", "record_ids": True, "save_every_steps": 1}
    loop = {"epochs": epochs, "batch_size": 8}
    return tiny_config(sets, method, data=data, loop=loop, run=run, **changes)


def by_set(counts: Counter[tuple[int, int]]) -> list[np.ndarray]:
    """How often each sample of each set came; every (pass, sample) has come once."""
    assert set(counts.values()) == {1}
    came = np.bincount([id for _, id in counts.elements()], minlength=sum(SIZES))
    return [came[: SIZES[0]], came[SIZES[0] :]]


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_every_method_continues_a_mixture_exactly(method: str, sets: Path, tmp_path: Path) -> None:
    """Cut after every step around an epoch's border; memories have a row for every image of all."""
    names = ("a", "b:2") if method == "deepclusterv2" else ("a", "b:0.5")
    whole = continued_at((7, 8, 9, 10), method, names, sets, tmp_path)
    assert whole.step > 10


def test_a_mixture_continues_exactly_at_every_step(sets: Path, tmp_path: Path) -> None:
    """Across the borders of the mixture's epochs, after 4 and 8 steps, and those of both sets."""
    outcome = continued_at(range(3, 10), "instdisc", ("a", "b:0.5"), sets, tmp_path)
    assert (outcome.step, outcome.total_steps) == (12, 12)
    first, second = by_set(count_ids(tmp_path / "whole"))
    assert first.tolist() == [3] * SIZES[0]
    assert np.bincount(second).tolist() == [0, 12, 12]


def continued_at(
    steps: Any, method: str, names: tuple[str, ...], sets: Path, tmp_path: Path
) -> Any:
    config = config_of(sets, *names, method=method)
    whole = tmp_path / "whole"
    outcome = train(config, whole)
    for step in steps:
        run = cut(whole, tmp_path / f"cut-{step}", step)
        assert train(config, run, resume=True).step == outcome.step
        assert losses(run) == losses(whole)
        assert_equal(final_state(run), final_state(whole))
        assert count_ids(run) == count_ids(whole)
        shutil.rmtree(run)
    return outcome


def test_one_set_in_a_list_is_the_run_that_it_always_was(sets: Path, tmp_path: Path) -> None:
    """Losses, weights and samples, bit for bit; a weight of 1 changes nothing either."""
    train(tiny_config(sets / "a", loop={"epochs": 2, "batch_size": 8}), tmp_path / "text")
    for name in ("a", "a:1"):
        train(config_of(sets, name, epochs=2), tmp_path / name)
        assert losses(tmp_path / name) == losses(tmp_path / "text")
        ends = final_state(tmp_path / name), final_state(tmp_path / "text")
        for end in ends:
            del end["config"]
        assert_equal(*ends)


def test_weights_may_change_when_a_run_continues(sets: Path, tmp_path: Path) -> None:
    """From the sample that is said; nothing is repeated or left out; and so once more, anew."""
    run = tmp_path / "run"
    train(config_of(sets, "a", "b:0.5", epochs=1.25), run)  # five steps
    outcome = train(config_of(sets, "a:0.5", "b", epochs=3), run, resume=True)
    assert (outcome.step, outcome.total_steps) == (12, 12)  # 34 an epoch
    text = (run / "config.yaml").read_text()
    notes = read_starts(text)[1]["notes"]
    said = "from sample 40 of the run on (step 5) the sets' weights are 0.5, 1 in place of 1, 0.5: "
    assert notes[0].startswith(said + "an epoch is 34 images, and 3 epochs are 12 steps")
    config = read_config(run)
    assert config.data.former_weights == ((5.0, 1.0, 0.5),)
    train(config_of(sets, "a:2", "b:2", epochs=2), run, resume=True)
    assert read_config(run).data.former_weights == ((5.0, 1.0, 0.5), (12.0, 0.5, 1.0))
    for came in by_set(count_ids(run)):
        assert np.ptp(came) <= 1
    # What config.yaml now says is the same run from the start.
    again = tmp_path / "again"
    train(read_config(run), again)
    assert count_ids(again) == count_ids(run)


def test_weights_that_were_changed_and_lost_are_forgotten(sets: Path, tmp_path: Path) -> None:
    """The checkpoint knows what was in force, not the config of a start that was killed."""
    run, plain = tmp_path / "run", tmp_path / "plain"
    config = config_of(sets, "a", "b:0.5", epochs=2)
    train(config, plain)
    cut(plain, run, 5)
    train(config_of(sets, "a:2", "b", epochs=2), run, resume=True)
    assert read_config(run).data.former_weights == ((5.0, 1.0, 0.5),)
    lost = cut(run, tmp_path / "lost", 5)
    train(config, lost, resume=True)
    assert read_config(lost).data.former_weights == ()
    assert losses(lost) == losses(plain)
    assert_equal(final_state(lost), final_state(plain))


def test_what_cannot_continue_is_refused(sets: Path, tmp_path: Path) -> None:
    """Other sets, the same in another order, one of them alone."""
    run = tmp_path / "run"
    train(config_of(sets, "a", "b:0.5", epochs=1), run)
    for names in (("b:0.5", "a"), ("a", "val"), ("a",)):
        with pytest.raises(UsageError, match="several sets in their former order"):
            train(config_of(sets, *names, epochs=2), run, resume=True)


def test_a_method_that_looks_at_all_images_wants_all_of_them(sets: Path, tmp_path: Path) -> None:
    """DeepCluster v2 clusters what its first epoch has filled; its weights stay, too."""
    with pytest.raises(UsageError, match=r"every image in an epoch, got weight 0.5 for .*/b"):
        build_parts(config_of(sets, "a", "b:0.5", method="deepclusterv2"))
    run = tmp_path / "run"
    train(config_of(sets, "a", "b", method="deepclusterv2", epochs=1), run)
    with pytest.raises(UsageError, match="keeps the weights of its sets, got 1, 2 after 1, 1"):
        train(config_of(sets, "a", "b:2", method="deepclusterv2", epochs=1), run, resume=True)


def test_an_epoch_is_that_of_the_mixture(sets: Path) -> None:
    """Length, schedules and memories: 32 of 44 images an epoch, a row for each of the 44."""
    parts = build_parts(config_of(sets, "a", "b:0.5", method="instdisc"))
    assert isinstance(parts.index, MixedIndex)
    assert (parts.timeline.steps_per_epoch, parts.timeline.total_steps) == (4.0, 12)
    assert parts.method.get_submodule("bank").get_buffer("rows").shape[0] == 44
    config = config_of(sets, "a", "b:0.5")
    larger = replace(config, loop=replace(config.loop, batch_size=40))
    with pytest.raises(UsageError, match="got --batch-size 40 for 32 images"):
        build_parts(larger)


def test_a_cache_changes_no_loss_of_a_mixture(sets: Path, tmp_path: Path) -> None:
    """Samples are kept by their numbers in the mixture, a part of them."""
    config = config_of(sets, "a", "b:0.5")
    train(config, tmp_path / "plain")
    data = replace(config.data, cache="host", cache_bytes="30KB")
    train(replace(config, data=data), tmp_path / "cached")
    assert losses(tmp_path / "cached") == losses(tmp_path / "plain")


@pytest.mark.slow
def test_two_ranks_and_one_share_a_mixture(sets: Path, tmp_path: Path) -> None:
    """Two gloo ranks, then one, then two, with other weights in between: each sample once."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(to_yaml(config_of(sets, "a", "b:0.5", epochs=1.25)))
    again = ["--out", "run", "--resume", "--data", f"{sets}/a", "--data"]
    commands = [
        {"argv": ["--config", str(recipe), "--out", "run"], "world": 2},
        {"argv": [*again, f"{sets}/b:0.5", "--epochs", "2"], "world": 1},
        {"argv": [*again, f"{sets}/b:1", "--epochs", "3"], "world": 2},
    ]
    found = run_ranks(tmp_path, commands)
    assert [result["codes"] for result in found] == [[0, 0], [0], [0, 0]], found
    assert "from sample 64 of the run on (step 8)" in found[2]["log"]
    counts = count_ids(tmp_path / "run")
    first, second = by_set(counts)
    assert first.sum() + second.sum() == 16 * 8
    assert np.ptp(first) <= 1
    assert np.ptp(second) <= 1


@pytest.mark.slow
def test_the_commands_take_several_sets(sets: Path, tmp_path: Path) -> None:
    """As they are typed: run, resume alone, evaluate, look at views; wrong ones write nothing."""
    tiny = "--views 2 --sizes 16 --arch resnet10 --batch-size 8 backbone.width=0.125 --device cpu"
    run = f"python -m trainer.run --data {sets}/a --data {sets}/b:0.5"
    said = typed(f"{run} --eval-data {sets}/val {tiny} --epochs 1 --out run eval.k=3", tmp_path)
    assert "fitted to 32 images of 32 px" in said
    assert "32 images an epoch, of 2 sets:" in said
    assert f"{sets}/b: 24 images (samples 20 to 43), weight 0.5: 12 an epoch" in said
    said = typed("python -m trainer.run --out run --resume --epochs 2", tmp_path)
    assert "8 steps done" in said
    assert "in place of 1, 0.5" not in said
    said = typed("python -m trainer.evaluate run", tmp_path)
    assert f"features of 44 images of {sets}/a, {sets}/b:0.5;" in said
    typed("python -m tools.show_views --config run --num-images 3 --out run.png", tmp_path)
    typed(f"python -m tools.show_views --data {sets}/a --data {sets}/b --out two.png", tmp_path)
    assert (tmp_path / "two.png").is_file()
    wrong = {
        f"{sets}/b:0": "above 0",
        f"{sets}/a": "every set once",
        f"{sets}/b {sets}/val": "every set has its own --data",
        "nothing:0.3": "got nothing (nothing there)",
        f"'{sets}/n*'": "stands for folders",
    }
    for word, reason in wrong.items():
        command = f"python -m trainer.run --data {sets}/a --data {word} {tiny} --epochs 1 --out no"
        said = typed(command, tmp_path, code=None)
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert reason in said
        assert not (tmp_path / "no").exists()


def test_patterns_become_sets(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_shards: Callable[..., Path]
) -> None:
    """A run's config has the folders that were there; one that comes later is none of its."""
    folder = tmp_path / "all"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copytree(sets / name, folder / name)
    run = tmp_path / "run"
    config = config_of(folder, "*:0.5", epochs=1)
    train(config, run)
    assert read_config(run).data.train == (f"{folder}/a:0.5", f"{folder}/b:0.5")
    new_shards(5, 1).rename(folder / "c")
    assert train(read_config(run), run, resume=True).exit_code == 0
