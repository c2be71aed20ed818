"""The cache of a remote folder, and how much it holds of what an order shuffles together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shards.errors import UsageError
from shards.format import ShardInfo
from shards.remote.address import DEFAULT_WINDOW_SHARDS, RemoteFolder
from shards.remotecache.shard_cache import ShardCache
from shards.terminal.bytesize import show_size


def cache_of(folder: RemoteFolder) -> ShardCache:
    """The cache that holds shards of this folder, among others."""
    limits = folder.limits
    patience_s = limits.total_s + 2 * limits.request_s
    return ShardCache(folder.cache_folder, folder.cache_bytes, patience_s)


def cache_bound(directory: Path | RemoteFolder) -> int | None:
    """Bytes of whole shards that are kept of a folder; None where none are: nothing limits it."""
    if not isinstance(directory, RemoteFolder) or directory.mode != "cache":
        return None
    return cache_of(directory).max_bytes


def fitting_window(directory: Path | RemoteFolder, sizes_bytes: Sequence[int]) -> int | None:
    """Shards to shuffle together so that the cache holds two windows of them; None for all.

    It follows from the cache, so an order that several machines share must not depend on it.
    """
    bound = cache_bound(directory)
    if bound is None:
        return None
    ends = np.cumsum(np.sort(np.asarray(sizes_bytes, np.int64))[::-1])
    fit = int(np.searchsorted(ends, bound // 2, side="right"))
    return min(DEFAULT_WINDOW_SHARDS, max(1, fit))


def note_on_window(
    directory: Path | RemoteFolder, shards: Sequence[ShardInfo], window_shards: int | None
) -> str | None:
    """A sentence about a cache for an order with windows of so many shards (None: of all).

    Raises:
        UsageError: it holds less than a window, so that shards would be fetched over and over.
    """
    held = cache_bound(directory)
    if held is None:
        return None
    assert isinstance(directory, RemoteFolder)
    sizes = sorted((shard.size_bytes for shard in shards), reverse=True)
    window = sum(sizes[:window_shards])
    if held < window:
        raise UsageError(
            f"a cache of remote shards holds those that are shuffled together, {show_size(window)} "
            f"for loop.window_shards={window_shards}, got {show_size(held)}; raise "
            f"data.remote_cache_bytes, lower loop.window_shards, or set data.remote=range"
        )
    where = f"remote shards: up to {show_size(held)} in {directory.cache_folder}"
    if held < min(2 * window, sum(sizes)):
        return f"{where}, less than two windows of {show_size(window)}: each begins with a wait"
    return where
