"""From a config to the parts of a run: data, engine, method, optimizer.

`train.py` builds them, maybe loads a checkpoint into them, and loops. Everything a user can get
wrong is found here or before, so that a run that starts does not stop for a wrong setting.
"""

from dataclasses import dataclass

import torch

from augengine.backends.backend import Backend
from augengine.backends.create_backend import create_backend
from augengine.caches.sample_cache import Cache, create_cache
from augengine.decoders.decoder import Decoder
from augengine.loader.mask_source import check_masks
from augengine.loader.view_loader import ViewLoader
from augengine.policy import Policy
from augengine.views import START
from shards.cursor import Cursor
from shards.index import ShardIndex
from shards.order import SampleOrder
from shards.remotecache.cache_window import note_on_window
from trainer.config import TrainConfig
from trainer.distributed import rank, world_size
from trainer.eval.center_views import CenterViews
from trainer.eval.fixed_part import LabelFree, fixed_part
from trainer.eval.labelled_pair import open_labelled
from trainer.eval.online import OnlineKnn
from trainer.methods.protocol import Method
from trainer.nets.own_nets import other_origins
from trainer.nets.timm_models import describe_options
from trainer.optim.create_optimizer import build_optimizer
from trainer.setup.accumulate import check_batch, describe_parts
from trainer.setup.beginning import Beginning
from trainer.setup.compiled import check_compiler
from trainer.setup.data_sets import (
    check_shares,
    notes_on_sets,
    open_training,
    window_sets,
    with_sets_named,
)
from trainer.setup.decoding import settle_decoding, views_device
from trainer.setup.device import choose_device, choose_kernels, use_bf16
from trainer.setup.length import check_length, warn_of_few_steps, warn_of_long_warmup
from trainer.setup.networks import build_method
from trainer.setup.recompute import recompute_blocks
from trainer.setup.sharedcache import Neighbours
from trainer.setup.sharednorm import share_statistics
from trainer.setup.timeline import Timeline
from trainer.weights.match import Taken


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a run needs, made once; no more than data."""

    config: TrainConfig
    device: torch.device
    timeline: Timeline
    index: ShardIndex
    order: SampleOrder  # which sample stands at which position of the stream
    policy: Policy
    backend: Backend
    decoder: Decoder
    method: Method
    optimizer: torch.optim.Optimizer
    cache: Cache
    notes: tuple[str, ...]  # what was found out while building that a person may want to know
    warnings: tuple[str, ...]  # what makes the run or its scores worth little
    knn: OnlineKnn | None  # None without labelled evaluation data
    taken: Taken | None = None  # of backbone.weights, by a run that begins with them
    label_free: LabelFree | None = None  # None: not asked for
    decoded_bytes: int | None = None  # most of decoded images at a time; None: without a bound


def build_parts(config: TrainConfig, local_rank: int = 0, *, begins: bool = True) -> Parts:
    """Make the parts of a run; the same config gives the same initial weights.

    A run that goes on reads no backbone.weights: what it took from them is in its checkpoints.
    """
    policy = config.policy.load()
    device = choose_device(config.run.device, local_rank)
    choose_kernels(device, repeatable=config.loop.repeatable)
    if config.loop.compile:
        check_compiler(device)
    beginning = Beginning(config)
    method = build_method(config, policy, beginning.fill if begins else None)
    recomputed = None
    if config.loop.checkpoint_activations:
        recomputed = recompute_blocks(method, config.backbone.arch)
    check_batch(config, method)
    config = with_sets_named(config)
    index = open_training(config)
    unmasked = check_masks(index, policy)
    check_length(config.loop, index)
    check_shares(method, index)
    method.check_classes(index.classes)
    method.prepare(len(index))
    method.to(device)
    method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    share_statistics(method, config)
    # What autocast would make of them anyway, in half the bytes.
    dtype = torch.bfloat16 if use_bf16(config, device) else torch.float32
    there = views_device(config.data, device)
    backend = create_backend(config.data.backend, there, dtype, config.data.workers)
    # After the method is on the device, so that what is free there is really free.
    decoding, config = settle_decoding(config, device, index)
    cache = create_cache(config.data.cache, index, there, config.data.max_cache_bytes, Neighbours())
    window = note_on_window(window_sets(index), config.loop.window)
    arch = describe_options(method.backbone)
    taken = beginning.taken
    begun = taken and taken.describe()
    others = other_origins(method, method.backbone)
    notes = (arch, *others, *decoding.notes, cache.note, window, describe_parts(config), begun)
    notes += (recomputed, unmasked, *method.notes)
    notes += notes_on_sets(index)
    knn, label_free = _build_scores(config, index, policy, decoding.decoder, device)
    notes += (label_free.note,) if label_free else ()
    warnings = (
        warn_of_few_steps(config.loop, index.epoch_samples),
        warn_of_long_warmup(config.optim, config.loop),
        _warn_of_overlap(knn),
    )
    loop = config.loop
    return Parts(
        config=config,
        device=device,
        timeline=Timeline(index.epoch_samples, loop.batch_size, loop.epochs),
        index=index,
        order=index.windowed_order(loop.seed, loop.window),
        policy=policy,
        backend=backend,
        decoder=decoding.decoder,
        method=method,
        optimizer=build_optimizer(method, config.optim, loop.batch_size),
        cache=cache,
        notes=tuple(filter(None, notes)),
        warnings=tuple(filter(None, warnings)),
        knn=knn,
        taken=taken,
        label_free=label_free,
        decoded_bytes=decoding.max_bytes,
    )


def open_loader(parts: Parts, cursor: Cursor = START) -> ViewLoader:
    """This rank's views from a position of the stream on, one forward's at a time."""
    data, loop = parts.config.data, parts.config.loop
    return ViewLoader(
        parts.index,
        parts.policy,
        batch_size=loop.images_per_forward,
        seed=loop.seed,
        backend=parts.backend,
        decoder=parts.decoder,
        cursor=cursor,
        rank=rank(),
        world=world_size(),
        num_workers=data.workers,
        prefetch=data.prefetch,
        bad_budget=data.bad_budget,
        on_bad=data.on_bad,
        order=parts.order,
        verify=data.verify,
        cache=parts.cache,
        decoded_bytes=parts.decoded_bytes,
        hand_over_on=parts.device,
        stall_s=data.stall_seconds,
    )


def _build_scores(
    config: TrainConfig,
    train: ShardIndex,
    policy: Policy,
    decoder: Decoder,
    device: torch.device,
) -> tuple[OnlineKnn | None, LabelFree | None]:
    sets = None if config.eval.data is None else open_labelled(config, train)
    part = fixed_part(config.eval, train, None if sets is None else sets.test.index)
    if sets is None and part is None:
        return None, None
    # Not training's backend, which may make views in bf16.
    backend = create_backend(config.data.backend, device, num_threads=config.data.workers)
    views = CenterViews(config.eval, config.data, policy, backend, decoder)
    knn = None if sets is None else OnlineKnn(views, sets, device)
    return knn, None if part is None else LabelFree(part, views, device)


def _warn_of_overlap(knn: OnlineKnn | None) -> str | None:
    """A sentence when a score would be of images that the encoder is trained on."""
    if knn is not None and knn.sets.num_shared:
        return f"{knn.sets.overlap}: their nearest neighbour is themselves; evaluate on others"
    if knn is not None and knn.sets.num_seen:
        return f"{knn.sets.overlap_with_seen}, without their labels; evaluate on others"
    return None
