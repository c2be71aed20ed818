"""What profile_augment.py times: decode alone, each backend alone, the loader end to end.

A backend is first held against the slow reference on a few images; a wrong one is not timed. The
cases share their data: a few batches of samples, read and decoded once.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from augengine.backends.protocol import Backend
from augengine.backends.table import create_backend
from augengine.decoders.protocol import Decoder
from augengine.decoders.table import create_decoder
from augengine.draw import draw_plan
from augengine.images import ImageSource
from augengine.meter import STAGES, Meter
from augengine.pipeline import ViewLoader
from augengine.policy import Policy
from augengine.reference import render
from shards.errors import DataError
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.reader import ShardReader
from tools.measure import Case, Result, Run, measure

NUM_ROUNDS = 5
NUM_BATCHES = 4  # kept in memory for the stages that are timed alone
NUM_GATE_IMAGES = 4
# Over whole policies, in steps of 8-bit pixels; tests/tolerances.py holds each op much tighter.
MAX_MEAN_ERROR_LEVELS = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure."""

    backends: tuple[str, ...]
    device: torch.device
    batch_size: int = 32
    num_threads: int = 1  # of the decoder and of each backend
    num_workers: int = 2  # of the loader
    seconds: float = 10.0  # of each case
    seed: int = 0


def profile(
    index: ShardIndex, policy: Policy, settings: Settings, on_step: Callable[[str], None]
) -> tuple[list[Result], dict[str, dict[str, float]]]:
    """Check, then time; results in the order of the table, and each backend's errors.

    Raises DataError when a backend is wrong or no image can be decoded. `on_step` hears what comes.
    """
    decoder = create_decoder("auto", settings.device, settings.num_threads)
    backends = [
        create_backend(name, settings.device, num_threads=settings.num_threads)
        for name in settings.backends
    ]
    stock = _Stock.load(index, decoder, settings)
    errors = {}
    for backend in backends:
        on_step(f"check {backend.name}")
        errors[backend.name] = _check(backend, policy, stock, settings)
    cases = [_decode_case(decoder, stock, settings)]
    cases += [_augment_case(backend, policy, stock, settings) for backend in backends]
    cases += [_loader_case(backend, decoder, policy, index, settings) for backend in backends]
    results = measure(cases, seconds=settings.seconds, num_rounds=NUM_ROUNDS, on_step=on_step)
    return results, errors


def num_steps(settings: Settings) -> int:
    """How many times `profile` calls `on_step`."""
    return len(settings.backends) + NUM_ROUNDS * (1 + 2 * len(settings.backends))


@dataclass(frozen=True, slots=True)
class _Stock:
    """NUM_BATCHES batches of good samples in memory: ids, bytes and images."""

    ids: np.ndarray  # [N] int64
    sizes: np.ndarray  # [N, 2] int32
    encoded: list[bytes]
    images: list[torch.Tensor]

    @staticmethod
    def load(index: ShardIndex, decoder: Decoder, settings: Settings) -> "_Stock":
        num_samples = NUM_BATCHES * settings.batch_size
        ids = SampleOrder(len(index), settings.seed)(np.arange(num_samples))[1]
        with ShardReader(index) as reader:
            images = ImageSource(index, reader, decoder, Meter()).load(ids)
            encoded = reader.read(ids)
        good = [row for row in range(num_samples) if isinstance(images[row], torch.Tensor)]
        if not good:
            raise DataError(f"at least one image can be decoded, got only bad ones: {images[0]}")
        rows = list(itertools.islice(itertools.cycle(good), num_samples))
        return _Stock(
            ids[rows],
            index.sizes(ids[rows]),
            [item for row in rows if isinstance(item := encoded[row], bytes)],
            [image for row in rows if isinstance(image := images[row], torch.Tensor)],
        )

    def batches(self, batch_size: int) -> Iterator[slice]:
        starts = range(0, len(self.ids), batch_size)
        return itertools.cycle([slice(start, start + batch_size) for start in starts])


def _check(backend: Backend, policy: Policy, stock: _Stock, settings: Settings) -> dict[str, float]:
    """Errors against the reference in 8-bit levels; DataError when the mean is out of bounds."""
    some = slice(0, min(NUM_GATE_IMAGES, len(stock.ids)))
    plan = draw_plan(policy, stock.ids[some], np.zeros(some.stop), stock.sizes[some], settings.seed)
    images, std = stock.images[some], np.array(plan.std)[:, None, None]
    views = [view.float().cpu().numpy() for group in backend(images, plan) for view in group]
    errors = [
        255 * std * np.abs(views[v][b] - render(image.cpu().numpy(), plan, b, v))
        for b, image in enumerate(images)
        for v in range(plan.num_views)
    ]
    mean = float(np.mean([error.mean() for error in errors]))
    largest = float(max(error.max() for error in errors))
    if not mean <= MAX_MEAN_ERROR_LEVELS:  # NaN is wrong too
        raise DataError(
            f"a backend is within {MAX_MEAN_ERROR_LEVELS} levels of the reference on average, got "
            f"{mean:.2f} (at most {largest:.0f}) from {backend.name}; it is wrong and not timed"
        )
    return {"mean_levels": round(mean, 5), "max_levels": round(largest, 4)}


def _decode_case(decoder: Decoder, stock: _Stock, settings: Settings) -> Case:
    batches = stock.batches(settings.batch_size)

    def decode() -> None:
        decoder(stock.encoded[next(batches)])
        _finish(settings.device)

    return Case("decode alone", settings.batch_size, 0, lambda: Run(decode))


def _augment_case(backend: Backend, policy: Policy, stock: _Stock, settings: Settings) -> Case:
    batches = stock.batches(settings.batch_size)
    epochs = np.zeros(settings.batch_size)
    plans = {
        rows.start: draw_plan(policy, stock.ids[rows], epochs, stock.sizes[rows], settings.seed)
        for rows in itertools.islice(stock.batches(settings.batch_size), NUM_BATCHES)
    }

    def augment() -> None:
        rows = next(batches)
        backend(stock.images[rows], plans[rows.start])
        _finish(settings.device)

    name = f"augment alone, {backend.name}"
    return Case(name, settings.batch_size, policy.num_views, lambda: Run(augment))


def _loader_case(
    backend: Backend, decoder: Decoder, policy: Policy, index: ShardIndex, settings: Settings
) -> Case:
    prefetch = 1

    def start() -> Run:
        loader = ViewLoader(
            index,
            policy,
            batch_size=settings.batch_size,
            seed=settings.seed,
            backend=backend,
            decoder=decoder,
            num_workers=settings.num_workers,
            prefetch=prefetch,
        )
        # What the workers made ahead before the clock started must not count.
        for _ in range(settings.num_workers + prefetch):
            next(loader)
        before = loader.meter.snapshot()

        def stop() -> dict[str, float]:
            after = loader.meter.snapshot() - before
            loader.close()
            return {stage: after.stages[stage].ms_per_image for stage in STAGES}

        return Run(lambda: next(loader), stop)

    return Case(f"end to end, {backend.name}", settings.batch_size, policy.num_views, start)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
