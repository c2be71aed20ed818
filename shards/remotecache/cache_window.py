"""The cache of a remote folder, and how much it holds of what an order shuffles together."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shards.errors import UsageError
from shards.format import ShardInfo
from shards.remote.address import DEFAULT_WINDOW_SHARDS, RemoteFolder
from shards.remote.several_folders import SeveralFolders, remote_parts
from shards.remotecache.shard_cache import ShardCache
from shards.terminal.bytesize import show_size

AnyFolder = Path | RemoteFolder | SeveralFolders


def cache_of(folder: RemoteFolder) -> ShardCache:
    """The cache that holds shards of this folder, among others."""
    limits = folder.limits
    patience_s = limits.total_s + 2 * limits.request_s
    return ShardCache(folder.cache_folder, folder.cache_bytes, patience_s)


def cache_bound(directory: AnyFolder) -> int | None:
    """Bytes of whole shards that are kept of a folder; None where none are: nothing limits it."""
    cached = [folder for folder in remote_parts(directory) if folder.mode == "cache"]
    return cache_of(cached[0]).max_bytes if cached else None


def fitting_window(directory: AnyFolder, sizes_bytes: Sequence[int]) -> int | None:
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
    sets: Sequence[tuple[AnyFolder, Sequence[ShardInfo]]], window_shards: int | None
) -> str | None:
    """A sentence about a cache for an order with windows of so many shards (None: of all).

    Args:
        sets: folders whose samples come side by side, and the shards of each.
        window_shards: of every set, that are shuffled together.

    Raises:
        UsageError: it holds less than a window, so that shards would be fetched over and over.
    """
    cached = [(folder, s) for folder, s in sets if cache_bound(folder) is not None]
    if not cached:
        return None
    (folder, *_), held = remote_parts(cached[0][0]), cache_bound(cached[0][0])
    assert held is not None
    sizes = [sorted((shard.size_bytes for shard in s), reverse=True) for _, s in cached]
    window, total = sum(sum(of[:window_shards]) for of in sizes), sum(map(sum, sizes))
    if held < window:
        raise UsageError(
            f"a cache of remote shards holds those that are shuffled together, {show_size(window)} "
            f"for loop.window_shards={window_shards}, got {show_size(held)}; raise "
            f"data.remote_cache_bytes, lower loop.window_shards, or set data.remote=range"
        )
    where = f"remote shards: up to {show_size(held)} in {folder.cache_folder}"
    if held < min(2 * window, total):
        return f"{where}, less than two windows of {show_size(window)}: each begins with a wait"
    return where


def cached_name(folder: RemoteFolder, shard: ShardInfo, index_sha256: str) -> str:
    """A name that no other content has: of another address, or of this one when it has changed."""
    hashed = shard.sha256 or index_sha256
    content = f"{folder.url}\n{shard.name}\n{shard.size_bytes}\n{hashed}"
    stem = re.sub(r"[^\w.-]", "_", shard.name.removesuffix(".tar"))[-80:]
    return f"{stem}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.tar"
