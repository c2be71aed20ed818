"""Opens the images that a config names: one set, or several as a mixture; and says what it is.

`build.py`, `facts.py`, the evaluation and the tools all open data here.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from shards.errors import UsageError
from shards.format import ShardInfo
from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex
from shards.packing.demo_folder import data_folder
from shards.remote.address import RemoteFolder, remote_folder
from shards.samples.skip_list import read_skip_list
from shards.subsets.skipped_index import SkippedIndex, leave_out_samples
from shards.terminal.bytesize import parse_size
from shards.terminal.counted import counted
from trainer.config import TrainConfig
from trainer.distributed import rank
from trainer.methods.protocol import Method
from trainer.settings.weighted_sets import expand, written

_SAMPLE = 1000  # images of each set whose sizes stand for it
_SIZES_DIFFER = 2.0  # times, from which on it is said


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
    """The index of data.train without the images of data.skip_list; UsageError without a set."""
    if config.data.train is None:
        raise UsageError(
            "data.train is the folder of the training shards, got null; give --data DIR"
        )
    sets = expand(config.data.train)
    parts = [open_index(found.place, config) for found in sets]
    if config.data.skip_list is not None:
        parts = _without_skipped(parts, Path(config.data.skip_list).expanduser())
    if len(parts) == 1:
        _refuse_past(config)
        return parts[0]
    former = former_weights(config)
    return MixedIndex(parts, [found.weight for found in sets], former)


def _without_skipped(parts: list[ShardIndex], path: Path) -> list[ShardIndex]:
    """The sets, without the images that a list names in one of them."""
    skip = read_skip_list(path)
    if len(parts) == 1:
        return [leave_out_samples(parts[0], skip)]
    if not any(part.fingerprint == skip.fingerprint for part in parts):
        raise UsageError(
            f"a skip list of several sets says which of them it was made of, got {path}; make it "
            "with python -m tools.find_duplicates from one set's features, or pack that set with "
            "--skip-list"
        )
    return [
        leave_out_samples(part, skip) if part.fingerprint == skip.fingerprint else part
        for part in parts
    ]


def with_sets_named(config: TrainConfig) -> TrainConfig:
    """The config with every set of a mixture by its name, in place of patterns."""
    given = config.data.train
    if given is None or len(sets := expand(given)) == 1:
        return config
    return replace(config, data=replace(config.data, train=written(sets)))


def former_weights(config: TrainConfig) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """data.former_weights with positions in place of steps."""
    rows = config.data.former_weights
    return tuple((int(end) * config.loop.batch_size, tuple(weights)) for end, *weights in rows)


def check_shares(method: Method, index: ShardIndex) -> None:
    """UsageError for sets of which an epoch takes a part, where a method needs all of them."""
    if not isinstance(index, MixedIndex) or not method.whole_epochs:
        return
    for part, weight, quota in zip(index.parts, index.weights, index.quotas, strict=True):
        if quota < len(part):
            raise UsageError(
                f"{type(method).__name__} needs every image in an epoch, got weight {weight:g} for "
                f"{part.directory}; give it 1 or more"
            )


def window_sets(index: ShardIndex) -> list[tuple[Path | RemoteFolder, tuple[ShardInfo, ...]]]:
    """The folders that an order goes through side by side, and the shards of each."""
    parts = index.parts if isinstance(index, MixedIndex) else (index,)
    return [(part.folder, part.shards) for part in parts]


def describe_sets(index: ShardIndex) -> tuple[str, ...]:
    """A line for every set of a mixture: where it is, its ids, its share; nothing for one set."""
    if not isinstance(index, MixedIndex):
        return ()
    rows = zip(index.parts, index.weights, index.quotas, index.first_ids.tolist(), strict=False)
    return tuple(
        f"{part.directory}: {counted(len(part), 'image')} (samples {first:,} to "
        f"{first + len(part) - 1:,}), weight {weight:g}: {quota:,} an epoch"
        for part, weight, quota, first in rows
    )


def notes_on_sets(index: ShardIndex) -> tuple[str, ...]:
    """Sentences about skipped images, and about a mixture: its shares, and what differs."""
    if isinstance(index, SkippedIndex):
        return (_describe_skipped(index),)
    if not isinstance(index, MixedIndex):
        return ()
    shares = (
        f"{counted(index.epoch_samples, 'image')} an epoch, of {counted(len(index.parts), 'set')}:",
    )
    shares += tuple(f"  {line}" for line in describe_sets(index))
    skipped = tuple(
        _describe_skipped(part) for part in index.parts if isinstance(part, SkippedIndex)
    )
    return shares + skipped + tuple(filter(None, (_note_on_sizes(index), _note_on_classes(index))))


def _describe_skipped(index: SkippedIndex) -> str:
    skipped = len(index.skipped)
    whole = skipped + len(index)
    return (
        f"data.skip_list leaves out {skipped:,} of {counted(whole, 'image')} of {index.directory}"
    )


def _note_on_sizes(index: MixedIndex) -> str | None:
    medians = [
        float(np.median(part.sizes(part.spread(_SAMPLE)).min(axis=1))) for part in index.parts
    ]
    if max(medians) < _SIZES_DIFFER * min(medians):
        return None
    shown = ", ".join(
        f"{median:.0f} px in {part.directory}"
        for part, median in zip(index.parts, medians, strict=True)
    )
    return (
        f"the sets' images differ in size (shorter side, median: {shown}); views are cut from each "
        "as it is, so those of the smaller ones are blurred"
    )


def _note_on_classes(index: MixedIndex) -> str | None:
    if not index.class_union.is_renumbered:
        return None
    unnamed = [str(part.directory) for part in index.parts if not part.classes]
    left_out = f"; {', '.join(unnamed)} names none, so its labels are left out" if unnamed else ""
    return (
        f"the sets' classes differ: they are matched by name, {len(index.classes):,} in all"
        f"{left_out}"
    )


def _refuse_past(config: TrainConfig) -> None:
    if config.data.former_weights:
        raise UsageError(
            f"data.former_weights are those of several sets, got {config.data.former_weights} for "
            "one; leave them out with data.former_weights=[]"
        )
