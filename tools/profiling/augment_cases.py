"""The cases of a profile: each backend from three starting points to finished views.

    decode alone      bytes -> pixels
    augment alone     pixels, plans ready -> views
    from pixels       pixels -> draw -> views           as the peers' transforms start
    from bytes        bytes -> decode -> draw -> views  the same, with decoding
    end to end        the loader: read -> decode -> draw -> views, in order, one batch at a time

A backend is first held against the slow reference on a few images; a wrong one is not timed. `from
pixels` and `from bytes` run like the loader's workers: `num_workers` threads, each with a share of
the batch, a decoder and a backend of its own, one thread inside.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from augengine.backends.backend import Backend
from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import DecodeFailure, Decoder
from augengine.draw import draw_plan
from augengine.loader.meter import STAGES, Meter
from augengine.loader.view_loader import ViewLoader
from augengine.policy import Policy
from shards.index import ShardIndex
from tools.profiling.augment_gate import check_backend
from tools.profiling.augment_stock import Stock
from tools.profiling.measure import Case, Run

DECODE, AUGMENT = "decode alone", "augment alone"
FROM_PIXELS, FROM_BYTES, END_TO_END = "from pixels", "from bytes", "end to end"
KINDS = (DECODE, AUGMENT, FROM_PIXELS, FROM_BYTES, END_TO_END)
PREFETCH = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a measurement."""

    backends: tuple[str, ...]
    device: torch.device
    batch_size: int = 32
    num_threads: int = 1  # of the decoder and of each backend, but `from ...`'s
    num_workers: int = 2  # of the loader and of `from ...`
    seconds: float = 10.0  # of each case
    seed: int = 0
    num_rounds: int = 5
    num_batches: int = 4  # kept in memory for the stages that are timed alone
    dtype: torch.dtype = torch.float32  # of the views


class Workload:
    """One policy on one data set, and the cases made of it; `prefix` begins their names."""

    def __init__(
        self, index: ShardIndex, policy: Policy, settings: Settings, prefix: str = ""
    ) -> None:
        self.policy = policy
        self.prefix = prefix
        self._index = index
        self._settings = settings
        self._decoder = create_decoder("auto", settings.device, settings.num_threads)
        self._backends = {
            name: create_backend(name, settings.device, settings.dtype, settings.num_threads)
            for name in settings.backends
        }
        stock = Stock.load(
            index, self._decoder, settings.batch_size, settings.num_batches, settings.seed
        )
        self.stock = replace(stock, images=self._moved(stock.images))

    def check(self, name: str) -> dict[str, float]:
        """A backend's errors in 8-bit levels; DataError when their mean is out of bounds."""
        return check_backend(self._backends[name], self.policy, self.stock, self._settings.seed)

    def cases(self, kinds: Sequence[str], backends: Sequence[str] | None = None) -> list[Case]:
        """The backends' cases of these kinds, in the order of KINDS; None: all backends."""
        makers: dict[str, Callable[[str], Case]] = {
            AUGMENT: self._augment,
            FROM_PIXELS: lambda name: self._from(FROM_PIXELS, name),
            FROM_BYTES: lambda name: self._from(FROM_BYTES, name),
            END_TO_END: self._loader,
        }
        cases = [self._decode()] if DECODE in kinds else []
        wanted = [kind for kind in KINDS if kind in kinds and kind != DECODE]
        return cases + [
            makers[kind](name) for kind in wanted for name in backends or self._backends
        ]

    def new_loader(self, name: str) -> ViewLoader:
        """The loader with this backend, as `end to end` times it."""
        settings = self._settings
        return ViewLoader(
            self._index,
            self.policy,
            batch_size=settings.batch_size,
            seed=settings.seed,
            backend=self._backends[name],
            decoder=self._decoder,
            num_workers=settings.num_workers,
            prefetch=PREFETCH,
        )

    def _decode(self) -> Case:
        batches = self.stock.batches()

        def start() -> Run:
            meter = Meter()

            def call() -> None:
                with meter.measure("decode", self._settings.batch_size):
                    self._decoder(self.stock.encoded[next(batches)])
                    self._finish()

            return Run(call, lambda: _stages(meter))

        return Case(self.prefix + DECODE, self._settings.batch_size, 0, start)

    def _augment(self, name: str) -> Case:
        stock, settings, backend = self.stock, self._settings, self._backends[name]
        batches, epochs = stock.batches(), np.zeros(settings.batch_size)
        plans = {
            rows.start: draw_plan(
                self.policy, stock.ids[rows], epochs, stock.sizes[rows], settings.seed
            )
            for rows in itertools.islice(stock.batches(), settings.num_batches)
        }

        def start() -> Run:
            meter = Meter()

            def call() -> None:
                rows = next(batches)
                with meter.measure("augment", settings.batch_size):
                    backend(stock.images[rows], plans[rows.start])
                    self._finish()

            return Run(call, lambda: _stages(meter))

        return Case(
            f"{self.prefix}{AUGMENT}, {name}", settings.batch_size, self.policy.num_views, start
        )

    def _from(self, kind: str, name: str) -> Case:
        settings, batches, epochs = self._settings, self.stock.batches(), itertools.count()
        cpu_or_cuda, workers = settings.device, range(settings.num_workers)
        lines = [
            (
                create_decoder("auto", cpu_or_cuda),
                create_backend(name, cpu_or_cuda, settings.dtype),
            )
            for _ in workers
        ]

        def start() -> Run:
            meter, pool = Meter(), ThreadPoolExecutor(settings.num_workers)

            def call() -> None:
                rows, epoch = next(batches), next(epochs)
                edges = np.linspace(rows.start, rows.stop, len(lines) + 1).astype(int).tolist()
                shares = [slice(*edge) for edge in itertools.pairwise(edges) if edge[0] < edge[1]]
                jobs = [
                    pool.submit(self._make, kind, *line, share, epoch, meter)
                    for line, share in zip(lines, shares, strict=False)
                ]
                for job in jobs:
                    job.result()

            def stop() -> dict[str, float]:
                pool.shutdown()
                return _stages(meter)

            return Run(call, stop)

        return Case(
            f"{self.prefix}{kind}, {name}", settings.batch_size, self.policy.num_views, start
        )

    def _make(
        self,
        kind: str,
        decoder: Decoder,
        backend: Backend,
        rows: slice,
        epoch: int,
        meter: Meter,
    ) -> None:
        """The views of some rows of the stock, on the calling thread alone."""
        stock, count = self.stock, rows.stop - rows.start
        images: Sequence[torch.Tensor | DecodeFailure] = stock.images[rows]
        if kind == FROM_BYTES:
            with meter.measure("decode", count):
                images = decoder(stock.encoded[rows])
        with meter.measure("draw", count):
            sizes, epochs = stock.sizes[rows], np.full(count, epoch)
            plan = draw_plan(self.policy, stock.ids[rows], epochs, sizes, self._settings.seed)
        with meter.measure("augment", count):
            backend(self._moved(images), plan)
            self._finish()

    def _loader(self, name: str) -> Case:
        settings = self._settings

        def start() -> Run:
            loader = self.new_loader(name)
            # What the workers made ahead before the clock started must not count.
            for _ in range(settings.num_workers + PREFETCH):
                next(loader)
            before = loader.meter.snapshot()

            def stop() -> dict[str, float]:
                after = loader.meter.snapshot() - before
                loader.close()
                return {stage: after.stages[stage].ms_per_image for stage in STAGES}

            return Run(lambda: next(loader), stop)

        return Case(
            f"{self.prefix}{END_TO_END}, {name}", settings.batch_size, self.policy.num_views, start
        )

    def _moved(self, images: Sequence[torch.Tensor | DecodeFailure]) -> list[torch.Tensor]:
        """Those that are images, where the backends want them: Pillow leaves them on the host."""
        device = self._settings.device
        return [image.to(device) for image in images if isinstance(image, torch.Tensor)]

    def _finish(self) -> None:
        if self._settings.device.type == "cuda":
            torch.cuda.synchronize(self._settings.device)


def _stages(meter: Meter) -> dict[str, float]:
    """Thread-milliseconds an image of the stages that were called."""
    stages = meter.snapshot().stages
    return {name: stats.ms_per_image for name, stats in stages.items() if stats.calls}
