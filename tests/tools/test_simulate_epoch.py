"""The simulated epoch tells a right order and a right restart from wrong ones."""

import json

import numpy as np
import pytest

from shards.cursor import Cursor
from shards.order import SampleOrder
from tools.epoch.epoch_run import (
    Counts,
    Stretch,
    check_split,
    plan_failures,
    run_epoch,
    steps_of_epoch,
)
from tools.epoch.epoch_shuffle import (
    count_opens,
    measure_shuffle,
    opens_per_shard,
    shard_sizes,
    uniform_permutation,
)
from tools.simulate_epoch import main

NUM_SAMPLES, BATCH = 10_007, 48
WORLDS = [1, 2, 3, 16]


def stretches(seed: int, num_failures: int = 9) -> list[Stretch]:
    steps = steps_of_epoch(NUM_SAMPLES, BATCH)
    return plan_failures(steps, num_failures, 7, WORLDS, np.random.default_rng(seed))


def run(order, plan):
    rng = np.random.default_rng(0)
    return run_epoch(order, BATCH, plan, splits_per_stretch=None, rng=rng)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_that_fails_is_exactly_once(seed: int, window: int | None) -> None:
    """Nine failures, other ranks each time: every sample once, lost steps done again."""
    sizes = shard_sizes(NUM_SAMPLES, 21)
    order = SampleOrder(NUM_SAMPLES, seed, shard_sizes=sizes, window_shards=window)
    report = run(order, stretches(seed))
    assert report.exactly_once
    assert report.times_seen["once"] == NUM_SAMPLES
    assert report.worlds == tuple(WORLDS)
    assert report.steps == steps_of_epoch(NUM_SAMPLES, BATCH)
    assert report.rank_splits_checked == report.steps + report.steps_lost
    assert report.steps_lost > 0
    assert report.state_bytes < 1024


def test_failures_lose_what_no_checkpoint_holds() -> None:
    """Stretches begin at checkpoints, follow each other, and change the number of ranks."""
    plan = stretches(3, num_failures=20)
    assert len(plan) == 21
    ends = [stretch.first_step + stretch.steps_kept for stretch in plan]
    assert [stretch.first_step for stretch in plan] == [0, *ends[:-1]]
    assert all(end % 7 == 0 for end in ends[:-1])
    assert plan[-1].steps_lost == 0
    assert all(stretch.steps_lost < 7 for stretch in plan)
    assert len({stretch.world for stretch in plan[:4]}) == 4


@pytest.mark.parametrize(("steps", "what"), [(1, "never"), (-1, "more often")])
def test_a_restart_at_the_wrong_place_is_found(
    steps: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step too late leaves a batch out, one too early brings a batch twice."""
    read = Cursor.from_state_dict
    starts = iter([0, 0, 0, steps, 0, 0, 0, 0, 0, 0])

    def read_wrongly(state):
        return Cursor(read(state).position + next(starts) * BATCH)

    monkeypatch.setattr(Cursor, "from_state_dict", read_wrongly)
    report = run(SampleOrder(NUM_SAMPLES, 0), stretches(0))
    assert not report.exactly_once
    assert report.times_seen[what] == BATCH


def test_counts_tell_once_from_more_often() -> None:
    """Within one call and over several, also for neighbours in one byte."""
    counts = Counts(100)
    counts.add(np.array([1, 9, 9, 99]))
    counts.add(np.array([1, 2]))
    assert counts.summary() == {"never": 96, "once": 2, "more often": 2}


def test_an_order_that_repeats_a_sample_is_found() -> None:
    """One id in place of another: one never, one twice."""

    class Wrong(SampleOrder):
        def __call__(self, positions):
            epochs, ids = super().__call__(positions)
            return epochs, np.where(ids == 17, 18, ids)

    report = run(Wrong(NUM_SAMPLES, 0), stretches(1))
    assert report.times_seen == {"never": 1, "once": NUM_SAMPLES - 2, "more often": 1}


def test_ranks_that_do_not_make_up_the_batch_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that reads its neighbour's part fails the check."""
    check_split(Cursor(96), BATCH, 3)
    positions = Cursor.positions
    monkeypatch.setattr(
        Cursor, "positions", lambda self, size, rank, world: positions(self, size, 0, world)
    )
    with pytest.raises(AssertionError, match="96"):
        check_split(Cursor(96), BATCH, 3)


def test_shuffles_are_told_apart() -> None:
    """No shuffle, windows and the global order against a uniform permutation."""
    n, shards = 100_000, 100
    rng, order = np.random.default_rng(0), SampleOrder(n, 0)
    windowed = SampleOrder(n, 0, shard_sizes=shard_sizes(n, shards), window_shards=4)
    uniform = measure_shuffle(uniform_permutation(n, rng), n, shards, 64, rng)
    found = measure_shuffle(lambda p: order(p)[1], n, shards, 64, rng)
    local = measure_shuffle(lambda p: windowed(p)[1], n, shards, 64, rng)
    none = measure_shuffle(lambda p: p, n, shards, 64, rng)
    assert found.displacement == pytest.approx(1 / 3, abs=0.005)
    assert abs(found.correlation) < 0.02
    assert found.shards_per_batch == pytest.approx(uniform.shards_per_batch, rel=0.03)
    assert found.entropy_bits == pytest.approx(uniform.entropy_bits, rel=0.03)
    assert 3.5 < local.shards_per_batch < 8
    assert local.correlation == pytest.approx(1 / 4, abs=0.15)
    assert none.displacement == 0
    assert none.correlation == pytest.approx(1)


def test_opens_are_those_of_a_bounded_cache() -> None:
    """The least recently used tar is closed; a window is opened once a rank."""
    assert count_opens([1, 2, 1, 3, 1, 2], max_open=2) == 4
    n, shards = 20_000, 200
    sizes = shard_sizes(n, shards)
    order = SampleOrder(n, 0, shard_sizes=sizes, window_shards=10)
    assert opens_per_shard(order, 0, shards, 100, 1) == pytest.approx(1, abs=0.2)
    assert opens_per_shard(order, 0, shards, 100, 4) == pytest.approx(4, abs=0.5)
    everything = opens_per_shard(SampleOrder(n, 0), 0, shards, 100, 1)
    assert everything == pytest.approx(100 * (1 - 64 / 200), rel=0.05)


def test_the_command_writes_what_it_found(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both orders, tables on stdout, the same figures in the JSON."""
    out = tmp_path / "epoch.json"
    arguments = ["--samples", "30000", "--shard-samples", "100", "--window", "8"]
    arguments += ["--batch-size", "256", "--max-ranks", "16", "--json", str(out)]
    assert main(arguments) == 0
    cases = json.loads(out.read_text())["cases"]
    assert [case["order"] for case in cases] == ["global", "windows of 8"]
    assert all(case["exactly_once"] for case in cases)
    assert all(case["epoch"]["worlds"] == [1, 2, 4, 8, 16] for case in cases)
    assert all(case["rank_bytes"]["16"] < 10 << 20 for case in cases)
    printed = capsys.readouterr().out
    assert "one epoch, 40 failures" in printed
    assert "30,000" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", "nan"], "numbers such as"),
        (["--samples", "1e99"], "at most 2**40"),
        (["--samples", "10"], "two batches"),
        (["--failures", "-1"], "at least 0"),
        (["--json", "/no/such/folder/x.json"], "in an existing folder"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 before any work."""
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
