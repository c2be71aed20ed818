import time

import pytest

from tools.profiling.measure import Case, Result, Run, measure, times_as_fast


def test_rates_are_images_over_time():
    """A call of 10 ms on 4 images is about 400 images/s, in every round, medians in the JSON."""

    def start():
        return Run(lambda: time.sleep(0.01), lambda: {"decode": 2.5})

    result = measure([Case("sleep", 4, 8, start)], seconds=0.2, num_rounds=3)[0]
    assert len(result.images_per_s) == 3
    figures = result.as_json()
    assert 200 < result.median <= 400
    assert figures["crops_per_s"] == pytest.approx(8 * figures["images_per_s"], rel=1e-3)
    assert figures["images_per_s_min"] <= result.median <= figures["images_per_s_max"]
    assert figures["cpu_ms_per_image"] < figures["ms_per_image"]  # it sleeps
    assert figures["stages_ms_per_image"] == {"decode": 2.5}


def test_cases_take_turns_and_are_stopped():
    """Rounds are interleaved (a b a b), and each start is stopped, even when its call fails."""
    events = []

    def case(name, call):
        def start():
            events.append(f"start {name}")
            return Run(call, lambda: events.append(f"stop {name}") or {})

        return Case(name, 1, 0, start)

    measure([case("a", lambda: None), case("b", lambda: None)], seconds=1e-6, num_rounds=2)
    assert events == [f"{what} {name}" for _ in "12" for name in "ab" for what in ("start", "stop")]
    events.clear()
    with pytest.raises(OSError, match="gone"):
        measure([case("c", fail)], seconds=1e-6)
    assert events == ["start c", "stop c"]


def fail():
    raise OSError("gone")


def test_the_first_call_is_not_timed():
    """A slow first call (a compilation) leaves the rate as it is."""
    calls = []

    def call():
        time.sleep(0.2 if not calls else 0.001)
        calls.append(1)

    result = measure([Case("warm", 1, 0, lambda: Run(call))], seconds=0.02, num_rounds=1)[0]
    assert result.median > 100


def test_cpu_seconds_are_those_of_who_works():
    """A case in another process reports its own: 3 ms a call of 2 images; NaN is no figure."""
    spent = iter(range(1_000_000))
    run = Run(lambda: None, cpu_seconds=lambda: 0.003 * next(spent))
    result = measure([Case("far", 2, 0, lambda: run)], seconds=1e-9, num_rounds=2)[0]
    assert result.cpu_ms == pytest.approx(3 / (2 * 2))  # two readings around two calls
    unknown = Run(lambda: None, cpu_seconds=lambda: float("nan"))
    result = measure([Case("far", 2, 0, lambda: unknown)], seconds=1e-9, num_rounds=2)[0]
    assert result.as_json()["cpu_ms_per_image"] is None


def test_ratios_are_taken_inside_a_round():
    """Twice as fast in every round is 2, however the machine's mood changes between them."""
    ours, theirs = (Result(name, 0, rates, 1.0, {}) for name, rates in RATES.items())
    assert times_as_fast(ours, theirs) == {"median": 2.0, "min": 2.0, "max": 2.5}


RATES = {"ours": (200.0, 20.0, 50.0), "theirs": (100.0, 10.0, 20.0)}
