"""From a config to the parts of a run: data, engine, method, optimizer.

`train.py` builds them, maybe loads a checkpoint into them, and loops. Everything a user can get
wrong is found here or before, so that a run that starts does not stop for a wrong setting.
"""

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from augengine.backends.backend import Backend
from augengine.backends.create_backend import create_backend
from augengine.caches.sample_cache import Cache, create_cache
from augengine.decoders.decoder import Decoder
from augengine.decoders.trial import create_tuned_decoder
from augengine.loader.view_loader import START, ViewLoader
from augengine.policy import Policy
from shards.cursor import Cursor
from shards.errors import UsageError
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.packing.demo_folder import data_folder
from shards.remote.address import remote_folder
from shards.remotecache.cache_window import note_on_window
from shards.samples.skip_list import read_skip_list
from shards.subsets.skipped_index import SkippedIndex, leave_out_samples
from shards.terminal.bytesize import parse_size
from trainer.config import TrainConfig
from trainer.distributed import rank, world_size
from trainer.eval.center_views import CenterViews
from trainer.eval.labelled import label_sets
from trainer.eval.online import OnlineKnn
from trainer.methods.protocol import Method, Progress
from trainer.nets.own_nets import other_origins
from trainer.nets.timm_models import describe_options
from trainer.optim.create_optimizer import build_optimizer
from trainer.setup.accumulate import check_batch, describe_parts
from trainer.setup.device import choose_device, use_bf16
from trainer.setup.length import check_length, warn_of_few_steps
from trainer.setup.networks import build_method
from trainer.setup.sharedcache import Neighbours
from trainer.setup.sharednorm import share_statistics


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a run needs, made once."""

    config: TrainConfig
    device: torch.device
    index: ShardIndex
    policy: Policy
    backend: Backend
    decoder: Decoder
    method: Method
    optimizer: torch.optim.Optimizer
    cache: Cache
    notes: tuple[str, ...]  # what was found out while building that a person may want to know
    warnings: tuple[str, ...]  # what makes the run or its scores worth little
    knn: OnlineKnn | None  # None without labelled evaluation data

    @property
    def steps_per_epoch(self) -> float:
        """Samples over the global batch; not whole, since batches cross epoch borders."""
        return len(self.index) / self.config.loop.batch_size

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return math.floor(self.config.loop.epochs * self.steps_per_epoch)

    def progress(self, step: int) -> Progress:
        """Where the run is after `step` steps."""
        return Progress(step, self.total_steps, self.steps_per_epoch)

    def steps(self, epochs: float) -> float:
        """A number of epochs in steps, at least one; not whole in general."""
        return max(1.0, epochs * self.steps_per_epoch)

    @property
    def images_per_forward(self) -> int:
        """Of all ranks together; loop.accumulate forwards are a batch."""
        return self.config.loop.batch_size // self.config.loop.accumulate

    @property
    def order(self) -> SampleOrder:
        """Which sample stands at which position of the stream."""
        loop = self.config.loop
        return self.index.windowed_order(loop.seed, loop.window)

    def cursor(self, step: int) -> Cursor:
        """Where the stream of samples stands after `step` steps."""
        return Cursor(step * self.config.loop.batch_size)

    def loader(self, cursor: Cursor = START) -> ViewLoader:
        """This rank's views from a position of the stream on, one forward's at a time."""
        data, loop = self.config.data, self.config.loop
        return ViewLoader(
            self.index,
            self.policy,
            batch_size=self.images_per_forward,
            seed=loop.seed,
            backend=self.backend,
            decoder=self.decoder,
            cursor=cursor,
            rank=rank(),
            world=world_size(),
            num_workers=data.workers,
            prefetch=data.prefetch,
            bad_budget=data.bad_budget,
            on_bad=data.on_bad,
            order=self.order,
            verify=data.verify,
            cache=self.cache,
            stall_s=data.stall_seconds,
        )


def build_parts(config: TrainConfig, local_rank: int = 0) -> Parts:
    """Make the parts of a run; the same config gives the same initial weights."""
    policy = config.policy.load()
    device = choose_device(config.run.device, local_rank)
    method = build_method(config, policy)
    check_batch(config, method)
    if config.data.train is None:
        raise UsageError(
            "data.train is the folder of the training shards, got null; give --data DIR"
        )
    index = open_training(config)
    check_length(config.loop, index)
    method.check_classes(index.classes)
    method.prepare(len(index))
    method.to(device)
    method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    share_statistics(method, config)
    # What autocast would make of them anyway, in half the bytes.
    dtype = torch.bfloat16 if use_bf16(config, device) else torch.float32
    backend = create_backend(config.data.backend, device, dtype, config.data.workers)
    decoder, split = create_tuned_decoder(
        config.data.decoder, device, config.data.workers, index, config.data.hardware_load
    )
    # After the method is on the device, so that what is free there is really free.
    cache = create_cache(
        config.data.cache, index, device, config.data.max_cache_bytes, Neighbours()
    )
    window = note_on_window(index.directory, index.shards, config.loop.window)
    arch = describe_options(method.backbone)
    others = other_origins(method, method.backbone)
    notes = (
        _describe_skipped(index),
        arch,
        *others,
        split,
        cache.note,
        window,
        describe_parts(config),
    )
    knn = _build_knn(config, index, policy, decoder, device)
    warnings = (warn_of_few_steps(config.loop, len(index)), _warn_of_overlap(knn))
    return Parts(
        config=config,
        device=device,
        index=index,
        policy=policy,
        backend=backend,
        decoder=decoder,
        method=method,
        optimizer=build_optimizer(method, config.optim, config.loop.batch_size),
        cache=cache,
        notes=tuple(filter(None, notes)),
        warnings=tuple(filter(None, warnings)),
        knn=knn,
    )


def open_index(data: str, config: TrainConfig) -> ShardIndex:
    """The index of a folder or an address of shards, or of the demo set by its name."""
    show = rank() == 0 and sys.stderr.isatty()
    remote = remote_folder(data)
    if remote is not None:
        settings = config.data
        cache, bound = settings.remote_cache, settings.remote_cache_bytes
        remote = replace(
            remote,
            mode=settings.remote,
            cache=None if cache is None else Path(cache).expanduser(),
            cache_bytes=None if bound is None else parse_size(bound),
            timeout_s=settings.remote_timeout_s,
        )
        return ShardIndex.open(remote)
    return ShardIndex.open(data_folder(data, progress=show), progress=show)


def open_training(config: TrainConfig) -> ShardIndex:
    """The index of the training set, without the images of data.skip_list."""
    assert config.data.train is not None
    index = open_index(config.data.train, config)
    if config.data.skip_list is None:
        return index
    return leave_out_samples(index, read_skip_list(Path(config.data.skip_list).expanduser()))


def _describe_skipped(index: ShardIndex) -> str | None:
    if not isinstance(index, SkippedIndex):
        return None
    num_skipped = len(index.skipped)
    return f"data.skip_list leaves out {num_skipped:,} of {num_skipped + len(index):,} images"


def _build_knn(
    config: TrainConfig,
    train: ShardIndex,
    policy: Policy,
    decoder: Decoder,
    device: torch.device,
) -> OnlineKnn | None:
    if config.eval.data is None:
        return None
    sizes = (config.eval.max_train_images, config.eval.max_test_images)
    sets = label_sets(train, open_index(config.eval.data, config), *sizes)
    # Not training's backend, which may make views in bf16.
    backend = create_backend(config.data.backend, device, num_threads=config.data.workers)
    views = CenterViews(config.eval, config.data, policy, backend, decoder)
    return OnlineKnn(views, sets, device)


def _warn_of_overlap(knn: OnlineKnn | None) -> str | None:
    """A sentence when a score would be of images that the encoder is trained on."""
    if knn is None or not knn.sets.num_shared:
        return None
    return f"{knn.sets.overlap}: their nearest neighbour is themselves; evaluate on others"
