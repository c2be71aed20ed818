"""The search of what a minute buys: equal costs, and rows that are kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.minutes import minute_trial, minutes, processor_cost
from benchmarks.minutes.ideas import IDEAS, WARMUPS
from shards.errors import DataError
from trainer.recipes.recipe import as_mapping


@pytest.mark.parametrize("name", IDEAS)
def test_every_idea_is_a_config_of_its_own(name: str) -> None:
    """It resolves, and differs from the base."""
    config = minute_trial.with_keys("set", IDEAS[name])
    same = as_mapping(config) == as_mapping(minute_trial.with_keys("set", ()))
    assert same == (name == "base")
    config.policy.load()


def test_warm_ups_are_of_ideas_there_are() -> None:
    """Shares of a run."""
    assert set(WARMUPS) <= set(IDEAS)
    assert all(0 < share < 1 for share in WARMUPS.values())


def test_costs_are_measured_in_turns(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each config's least of its turns, the first left out; the clock is the processor's."""
    keys = ("loop.batch_size=8", "loop.epochs=5", "backbone.width=0.125")
    configs = [
        minute_trial.with_keys(str(shard_folder), (*keys, f"loop.seed={seed}")) for seed in (0, 1)
    ]
    clock, turns = [0.0], []
    # Of a step: the first turn is dear, later ones are not, a noisy neighbour doubles one of them.
    prices = {0: [9.0, 1.0, 2.0], 1: [9.0, 4.0, 3.0]}

    def step(method: Any, parts: Any, loader: Any, progress: Any) -> None:
        seed = parts.config.loop.seed
        turns.append(seed)
        turn = turns.count(seed) - 1
        clock[0] += prices[seed][turn // processor_cost.STEPS]

    monkeypatch.setattr(processor_cost, "optimizer_step", step)
    monkeypatch.setattr(processor_cost.time, "process_time", lambda: clock[0])
    found = processor_cost.costs(configs, rounds=2)
    assert found == [pytest.approx(1 / 8), pytest.approx(3 / 8)]
    once = [0] * processor_cost.STEPS + [1] * processor_cost.STEPS
    assert turns == 3 * once


def test_a_dearer_idea_sees_fewer_images(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial of twice the base's cost trains on half as many, and says what it was made under."""
    monkeypatch.setattr(minute_trial, "costs", lambda configs: [0.001, 0.002])
    keys = ("loop.batch_size=8", "backbone.width=0.125", "eval.k=3")
    row = minute_trial.run_trial(str(shard_folder), str(shard_folder), 0.2, keys)
    assert row["images"] == round(0.2 * minute_trial.BASE_RATE / 2) == 28
    assert row["steps"] == 3
    assert (row["cost"], row["keys"], row["warmup"]) == (2.0, list(keys), 0.05)
    assert 0 <= row["knn"] <= 1
    assert row["conditions"]["cpu"]


def test_length_and_warm_up_follow_the_images(shard_folder: Path) -> None:
    """A warm-up is a share of whatever the run is."""
    config = minute_trial.with_keys(str(shard_folder), ())
    images = minute_trial.open_training(config).epoch_samples
    longer = minute_trial.with_length(config, 3 * images, 0.3)
    assert longer.loop.epochs == pytest.approx(3)
    assert longer.optim.warmup_epochs == pytest.approx(0.9)


SCORES = {"cost": 1.0, "images": 9, "steps": 3, "rank": 4.0, "knn": 0.4}


def test_rows_that_are_there_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is in the file before the next begins; one that fails is made by the next call."""
    out, made, fails = tmp_path / "rows.json", [], {"half-stem"}

    def trial(name: str, options: Any) -> dict[str, float]:
        kept = [row["idea"] for row in json.loads(out.read_text())["rows"]] if made else []
        made.append((name, kept))
        if name in fails:
            raise DataError("no room")
        return SCORES

    monkeypatch.setattr(minutes, "_trial", trial)
    words = ["--train", "a", "--held-out", "b", "--out", str(out), "--ideas", "base,half-stem,muon"]
    assert minutes.main(words) == 1
    assert made == [("base", []), ("half-stem", ["base"]), ("muon", ["base"])]
    fails.clear()
    assert minutes.main(words) == 0
    assert [name for name, _ in made[3:]] == ["half-stem"]
    assert minutes.main([*words, "--core-seconds", "150"]) == 0  # another budget, other rows
    assert len(made) == 7
    assert minutes.main(["--print", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("+0.0") >= 6


def test_an_idea_whose_keys_have_changed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its former row stays what it is: of other keys."""
    out = tmp_path / "rows.json"
    row = {"idea": "muon", "core_seconds": 60.0, "keys": ["optim.name=muon"]} | SCORES
    out.write_text(json.dumps({"rows": [row]}))
    monkeypatch.setattr(minutes, "_trial", lambda name, options: SCORES)
    words = ["--train", "a", "--held-out", "b", "--out", str(out), "--ideas", "muon"]
    for _ in range(2):
        assert minutes.main(words) == 0
        keys = [row["keys"] for row in json.loads(out.read_text())["rows"]]
        assert keys == [["optim.name=muon"], [*IDEAS["muon"]]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ideas", "bsae"], "did you mean base"),
        (["--train", "a"], "a trial needs two sets"),
        (["--core-seconds", "0"], "--core-seconds is positive"),
    ],
)
def test_wrong_words_are_a_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained."""
    assert minutes.main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
