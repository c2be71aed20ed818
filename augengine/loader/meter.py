"""Says which stage is the bottleneck: counts and seconds a stage, always on.

The pipeline's threads add to one Meter; the trainer and the tools read snapshots. Seconds of the
worker stages are summed over threads, so on four workers they may grow four times faster than the
clock, and they include a thread's wait for its turn; `wait` is the consumer's alone. A measurement
costs a few microseconds, a batch takes six of them.

After `record_spans` every call is also kept, with its thread and batch.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WORKER_STAGES = ("read", "decode", "draw", "transfer", "augment")
STAGES = (*WORKER_STAGES, "wait")
BATCH = "batch"  # the span around all stages of one batch


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage's share of the work."""

    calls: int = 0
    images: int = 0
    seconds: float = 0.0  # summed over threads

    @property
    def ms_per_image(self) -> float:
        """Milliseconds of one thread an image; 0 before the first."""
        return 1e3 * self.seconds / self.images if self.images else 0.0

    def __sub__(self, earlier: "StageStats") -> "StageStats":
        return StageStats(
            self.calls - earlier.calls,
            self.images - earlier.images,
            self.seconds - earlier.seconds,
        )


@dataclass(frozen=True, slots=True)
class MeterSnapshot:
    """Counts at one moment; `b - a` are those between two moments."""

    wall_s: float = 0.0  # since the meter was made, but for `Meter.paused`
    images: int = 0  # delivered to the consumer
    views: int = 0  # delivered to the consumer
    bad_samples: int = 0  # replaced, each time one came up
    stages: dict[str, StageStats] = field(
        default_factory=lambda: dict.fromkeys(STAGES, StageStats())
    )

    @property
    def wait_share(self) -> float:
        """Share of the wall time the consumer was blocked: 0 when views are always ready."""
        return min(1.0, self.stages["wait"].seconds / self.wall_s) if self.wall_s > 0 else 0.0

    @property
    def images_per_s(self) -> float:
        """Images delivered a second of wall time."""
        return self.images / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def bottleneck(self) -> str:
        """The worker stage that took the most thread time."""
        return max(WORKER_STAGES, key=lambda stage: self.stages[stage].seconds)

    def __sub__(self, earlier: "MeterSnapshot") -> "MeterSnapshot":
        return MeterSnapshot(
            self.wall_s - earlier.wall_s,
            self.images - earlier.images,
            self.views - earlier.views,
            self.bad_samples - earlier.bad_samples,
            {name: stats - earlier.stages[name] for name, stats in self.stages.items()},
        )


@dataclass(frozen=True, slots=True)
class Span:
    """One call of a stage, or the making of a whole batch, on one thread."""

    name: str  # of STAGES, or BATCH
    thread: str
    batch: int | None  # since the loader was made; None outside of any
    images: int
    start_s: float  # by time.perf_counter
    seconds: float


class Meter:
    """Adds up what the stages report, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = time.perf_counter()
        self._stages = {stage: [0, 0, 0.0] for stage in STAGES}
        self._images = 0
        self._views = 0
        self._bad_samples = 0
        self._spans: list[Span] | None = None  # None: they are not kept
        self._here = threading.local()  # .batch: what the calling thread is making
        # thread -> stage and start. No lock: a thread touches its own entry only.
        self._running: dict[str, tuple[str, float]] = {}

    def record_spans(self) -> MeterSnapshot:
        """Keep every call from now on, until `take_spans`; returns what was counted before."""
        with self._lock:
            self._spans = []
            return self._snapshot()

    def take_spans(self) -> tuple[Span, ...]:
        """The spans that ended since `record_spans`; none is kept after this."""
        with self._lock:
            spans, self._spans = self._spans or [], None
            return tuple(spans)

    @contextmanager
    def batch(self, number: int, num_images: int) -> Iterator[None]:
        """Say that the calling thread makes this batch in the body; counts nothing."""
        start = time.perf_counter()
        self._here.batch = number
        try:
            yield
        finally:
            self._here.batch = None
            with self._lock:
                self._keep(BATCH, number, num_images, start, time.perf_counter() - start)

    @contextmanager
    def measure(self, stage: str, num_images: int) -> Iterator[None]:
        """Time the body as one call of `stage`; a body that raises is counted too."""
        thread, start = threading.current_thread().name, time.perf_counter()
        self._running[thread] = (stage, start)
        try:
            yield
        finally:
            self._running.pop(thread, None)
            self.add(stage, num_images, time.perf_counter() - start)

    def add(self, stage: str, num_images: int, seconds: float) -> None:
        """Count one call, ended just now, of a stage of STAGES; KeyError for another name."""
        with self._lock:
            stats = self._stages[stage]
            if self._spans is not None:
                # The consumer makes no batch; it waits for the one whose turn it is.
                batch = stats[0] if stage == "wait" else getattr(self._here, "batch", None)
                self._keep(stage, batch, num_images, time.perf_counter() - seconds, seconds)
            stats[0] += 1
            stats[1] += num_images
            stats[2] += seconds

    def _keep(
        self, name: str, batch: int | None, images: int, start_s: float, seconds: float
    ) -> None:
        if self._spans is not None:
            thread = threading.current_thread().name
            self._spans.append(Span(name, thread, batch, images, start_s, seconds))

    def running(self) -> str:
        """The present stage of each thread, and since when: `views-0: read for 12 s`."""
        now = time.perf_counter()
        parts = (
            f"{thread}: {stage} for {now - start:.0f} s"
            for thread, (stage, start) in sorted(self._running.items())
        )
        return ", ".join(parts) or "no stage is running"

    def delivered(self, num_images: int, num_views: int, num_bad: int = 0) -> None:
        """Count a batch that reached the consumer: images, their views in all, samples replaced."""
        with self._lock:
            self._images += num_images
            self._views += num_views
            self._bad_samples += num_bad

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the body's time out of `wall_s`: the consumer does something else, as evaluate."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._start += time.perf_counter() - start

    def snapshot(self) -> MeterSnapshot:
        """Everything counted so far, as one consistent value."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> MeterSnapshot:
        stages = {
            name: StageStats(calls, images, seconds)
            for name, (calls, images, seconds) in self._stages.items()
        }
        wall_s = time.perf_counter() - self._start
        return MeterSnapshot(wall_s, self._images, self._views, self._bad_samples, stages)
