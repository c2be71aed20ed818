"""Times several things in turn, so that a change of the machine's mood touches them all alike.

Used by profile_augment.py and by the benchmarks. A case is timed once a round, rounds are
interleaved, and what is reported is the median over rounds with its lowest and highest.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIN_CALLS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to time; `start` is not timed and gives the call that is."""

    name: str
    images_per_call: int
    crops_per_image: int  # 0 where no crops are made
    start: Callable[[], "Run"]


@dataclass(frozen=True, slots=True)
class Run:
    """A started case: call it again and again, then stop it."""

    call: Callable[[], object]
    stop: Callable[[], dict[str, float]] = dict  # gives ms an image of each stage, when known
    # So far, of all who work: a case that works in other processes says so itself; NaN: unknown.
    cpu_seconds: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True)
class Result:
    """One case over all rounds."""

    name: str
    crops_per_image: int
    images_per_s: tuple[float, ...]  # one a round
    cpu_ms: float  # of all threads, an image; least over rounds: other load can only add to it
    stages_ms: dict[str, float]  # thread-milliseconds an image, median over rounds

    @property
    def median(self) -> float:
        """Images a second."""
        return statistics.median(self.images_per_s)

    def as_json(self) -> dict[str, object]:
        """The figures as plain numbers."""
        return {
            "images_per_s": round(self.median, 2),
            "images_per_s_min": round(min(self.images_per_s), 2),
            "images_per_s_max": round(max(self.images_per_s), 2),
            "crops_per_s": round(self.median * self.crops_per_image, 2),
            "ms_per_image": round(1e3 / self.median, 4),
            "cpu_ms_per_image": None if math.isnan(self.cpu_ms) else round(self.cpu_ms, 4),
            "stages_ms_per_image": {name: round(ms, 4) for name, ms in self.stages_ms.items()},
            "rounds": len(self.images_per_s),
        }


def measure(
    cases: Sequence[Case],
    *,
    seconds: float,  # of each case, over all rounds
    num_rounds: int = 5,
    on_step: Callable[[str], None] = lambda name: None,  # before each case of each round
) -> list[Result]:
    """Time every case `num_rounds` times in turn; one untimed call warms each of them up."""
    rates: dict[str, list[float]] = {case.name: [] for case in cases}
    cpu_ms: dict[str, list[float]] = {case.name: [] for case in cases}
    stages: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
    for _ in range(num_rounds):
        for case in cases:
            on_step(case.name)
            run = case.start()
            try:
                run.call()
                num_calls, elapsed_s, cpu_s = _repeat(run, seconds / num_rounds)
            finally:
                stages[case.name].append(run.stop())
            num_images = num_calls * case.images_per_call
            rates[case.name].append(num_images / elapsed_s)
            cpu_ms[case.name].append(1e3 * cpu_s / num_images)
    return [
        Result(
            case.name,
            case.crops_per_image,
            tuple(rates[case.name]),
            min(cpu_ms[case.name]),
            _medians(stages[case.name]),
        )
        for case in cases
    ]


def times_as_fast(ours: Result, theirs: Result) -> dict[str, float]:
    """The speed of `ours` as a multiple, round by round: median, lowest and highest."""
    ratios = [a / b for a, b in zip(ours.images_per_s, theirs.images_per_s, strict=True)]
    spread = statistics.median(ratios), min(ratios), max(ratios)
    return {name: round(x, 3) for name, x in zip(("median", "min", "max"), spread, strict=True)}


def _repeat(run: Run, seconds: float) -> tuple[int, float, float]:
    """Calls, seconds by the clock, CPU seconds."""
    num_calls, start_cpu, start = 0, run.cpu_seconds(), time.perf_counter()
    while True:
        run.call()
        num_calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds and num_calls >= MIN_CALLS:
            return num_calls, elapsed, run.cpu_seconds() - start_cpu


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(ms[name] for ms in rounds) for name in rounds[0]}
