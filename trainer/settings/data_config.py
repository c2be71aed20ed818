"""The `data` keys of a run: which images, in which batches, through which engine; see config.py."""

from dataclasses import dataclass, field

from augengine.caches.sample_cache import CACHES
from shards.remote.address import MODES, remote_folder
from shards.terminal.bytesize import parse_size
from trainer.checks import choose, require
from trainer.settings.strict import PATH
from trainer.settings.weighted_sets import split_weight

MAX_THREADS = 1024  # also batches made ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The images, their batches, and the engine that reads them."""

    # Folder or s3://, gs://, https:// address of shards, or a list of them: [A, B:0.3]. An epoch
    # takes round(weight x images) of every set: all of A once, 30 % of B and others in the next, of
    # C:2 each image twice. Patterns: 'sets/*', 'sets/{a,b}' (docs/mixtures.md). null: demo set.
    train: str | tuple[str, ...] | None = None
    # Where a continued run has changed weights: [[step up to which, weight, weight, ...], ...].
    # A run writes it itself.
    former_weights: tuple[tuple[float, ...], ...] = ()
    # A text of names or keys of images to leave out (tools/find_duplicates.py writes one).
    skip_list: str | None = field(default=None, metadata=PATH)
    backend: str = "auto"  # fused, dali, kornia; auto: the fastest that is there
    decoder: str = "auto"  # dali, nvimgcodec, pillow; auto: dali where it is
    # Share of JPEGs for the GPU's hardware decoder, 1 or 0: with another, pixels depend on the
    # batch. auto: one of the two, by a trial at the first start, and kept. The CPU has none.
    decoder_load: float | str = "auto"
    decode_threads: int | None = None  # of the decoder, on the host; null: as many as workers
    # cpu: views are decoded and made on the CPU beside training on CUDA; auto: where training is.
    augment_device: str = "auto"
    workers: int = 2  # threads that read, decode and augment: batches being made at a time
    prefetch: int = 2  # batches made ahead
    # Most of a process's decoded images at a time, such as 4GiB; null: a quarter of what is free at
    # the start. A batch that has more is made in pieces, which changes no view.
    decoded_bytes: str | None = None
    cache: str = "none"  # host: encoded images stay in memory; gpu: decoded ones on the GPU
    # Bound of the cache, such as 4GiB, times the processes of a machine, which share the host's;
    # null: what is free at the start, of the host's memory half, of the GPU's a quarter.
    cache_bytes: str | None = None
    # Shards at an address (docs/remote.md): whole ones into a local cache, or range: every image
    # alone, into memory.
    remote: str = "cache"
    # That cache's folder; null: in the user's cache folder.
    remote_cache: str | None = field(default=None, metadata=PATH)
    # Its bound, such as 500GiB; null: half of what is free on its disk, at most 64GiB.
    remote_cache_bytes: str | None = None
    remote_timeout_s: float = 60  # a read that fails for so long is given up, a request in a third
    verify: bool = False  # check every image's crc32 when it is read; remote ones always are
    on_bad: str = "substitute"  # or fail: stop at the first sample that cannot be read
    bad_budget: float = 0.001  # share of bad samples that stops the run, after the first 1,000
    stall_seconds: float = 300.0  # a wait for one batch that stops the run

    def __post_init__(self) -> None:
        for name in ("workers", "prefetch"):
            value = getattr(self, name)
            rule = f"data.{name} lies in [1, {MAX_THREADS}]"
            require(1 <= value <= MAX_THREADS, rule, value, f"try data.{name}=2")
        threads = self.decode_threads
        rule = f"data.decode_threads lies in [1, {MAX_THREADS}] or is null"
        require(threads is None or 1 <= threads <= MAX_THREADS, rule, threads, "try null")
        choose("data.augment_device", self.augment_device, ("auto", "cpu"))
        on_gpu = self.augment_device == "cpu" and self.cache == "gpu"
        rule = "data.cache=gpu keeps images where views are made, so not beside data.augment_device"
        require(not on_gpu, rule, self.augment_device, "try data.cache=host")
        stall = self.stall_seconds
        require(stall > 0, "data.stall_seconds is positive", stall, "try data.stall_seconds=300")
        budget = self.bad_budget
        require(0 <= budget <= 1, "data.bad_budget is a share in [0, 1]", budget, "try 0.001")
        choose("data.on_bad", self.on_bad, ("substitute", "fail"))
        choose("data.cache", self.cache, CACHES)
        for size in (self.cache_bytes, self.remote_cache_bytes, self.decoded_bytes):
            if size is not None:
                parse_size(size)
        choose("data.remote", self.remote, MODES)
        limit = self.remote_timeout_s
        require(limit > 0, "data.remote_timeout_s is positive", limit, "try 60")
        for place in self.train_places:
            remote_folder(place)  # before it is written anywhere: it could hold a password
        steps = [row[0] if row else -1.0 for row in self.former_weights]
        is_past = steps == sorted(steps) and all(step >= 0 and step % 1 == 0 for step in steps)
        rule = "data.former_weights are [step, weight, weight, ...], steps ascending"
        require(is_past, rule, list(map(list, self.former_weights)), "leave it as the run wrote it")
        load = self.decoder_load
        is_load = load == "auto" if isinstance(load, str) else 0 <= load <= 1
        require(is_load, "data.decoder_load is auto or a share in [0, 1]", load, "try auto")

    @property
    def train_places(self) -> tuple[str, ...]:
        """The words that name the training images, as written, without weights."""
        given = (self.train,) if isinstance(self.train, str) else self.train or ()
        return tuple(split_weight(text)[0] for text in given)

    @property
    def max_cache_bytes(self) -> int | None:
        """The bound in bytes; None: a share of the free memory."""
        return None if self.cache_bytes is None else parse_size(self.cache_bytes)

    @property
    def max_decoded_bytes(self) -> int | None:
        """The bound in bytes; None: a share of the free memory."""
        return None if self.decoded_bytes is None else parse_size(self.decoded_bytes)

    @property
    def num_decode_threads(self) -> int:
        """Threads of the decoder."""
        return self.workers if self.decode_threads is None else self.decode_threads

    @property
    def hardware_load(self) -> float | None:
        """The share as a number; None: to be measured."""
        return None if isinstance(self.decoder_load, str) else self.decoder_load
