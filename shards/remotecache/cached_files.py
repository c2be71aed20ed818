"""Remote tars read through a local cache of whole shards.

A shard that was announced by `expect` is fetched whole, ahead by threads or when it is first read;
from others, such as those of a few substitutes or of a small evaluation, single images are read
without keeping anything, where the server can send parts of files. A shard is checked when it
arrives: its size, and its sha256 where the manifest has one.
"""

import errno
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Sequence

from shards.errors import DataError, UsageError
from shards.format import Manifest
from shards.remote.address import RemoteFolder
from shards.remote.requests import RemoteStore
from shards.remotecache.cache_window import cache_of, cached_name
from shards.remotecache.prefetch import Prefetch
from shards.tars.local_files import Place, read_key, sha256_of
from shards.terminal.bytesize import show_size

_ATTEMPTS = 2  # to get the right bytes
# What the cache's disk says, of every shard alike.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class CachedFiles:
    """One of the `Files` (shards/files.py)."""

    is_remote = True

    def __init__(
        self,
        folder: RemoteFolder,
        manifest: Manifest,
        share: float = 1.0,  # of the cache; the rest is for other folders of the same run
    ) -> None:
        """Make the cache's folder; UsageError when its bound is below the largest shard."""
        self._folder = folder
        self._share = share
        self._shards = shards = manifest.shards
        self._names = [cached_name(folder, shard, manifest.index_sha256) for shard in shards]
        self._store = RemoteStore(folder)
        self._cache = cache_of(folder)
        largest = max((shard.size_bytes for shard in shards), default=0)
        if largest > self._cache.max_bytes:
            raise UsageError(
                f"a cache of remote shards holds the largest of them, {show_size(largest)}, got "
                f"{show_size(self._cache.max_bytes)} in {folder.cache_folder}; raise "
                f"data.remote_cache_bytes, free the disk, or set data.remote=range"
            )
        self._lock = threading.Lock()
        self._said: tuple[int, ...] = ()
        self._to_fetch: list[int] | None = None  # not told to the threads yet
        self._ahead: list[int] | None = None  # told but for what comes after a read that goes on
        self._expected: frozenset[int] = frozenset()
        self._failed: dict[int, tuple[float, OSError | DataError]] = {}
        self._replaced: set[int] = set()
        self._prefetch = Prefetch(self._fetch_ahead)
        # A forgotten one fetches no more.
        weakref.finalize(self, _stop, self._prefetch, self._store)
        # Images read from the cache at once, images that waited for their shard, images read one
        # by one; shards and bytes fetched.
        self.counts: Counter[str] = Counter()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Bytes at an offset, fewer than `size` where the file ends; raises OSError."""
        (found,) = self.read_many([(shard, offset, size)])
        if isinstance(found, OSError):
            raise found
        return found

    def read_many(self, places: Sequence[Place]) -> list[bytes | OSError]:
        """The same for many, in order; errors are returned. Raises DataError at an outage."""
        self._fetch_needed({shard for shard, _, _ in places})
        found: list[bytes | OSError | None] = []
        for place in places:
            try:
                found.append(self._read_cached(*place))
            except OSError as error:
                found.append(error)
        # Not earlier: it would push out of the cache what these places are in.
        self._fetch_further()
        rows = [row for row, item in enumerate(found) if item is None]
        if rows:
            alone = [(self._shards[places[row][0]].name, *places[row][1:]) for row in rows]
            for row, item in zip(rows, self._store.read_many(alone), strict=True):
                found[row] = item
            self._count(alone=len(rows))
        return [item for item in found if item is not None]

    def read_again(self, shard: int, offset: int, size: int) -> bytes:
        """The same from the server, which tells whether the cached shard is what is wrong."""
        if self._store.has_ranges:
            found = self._store.read(self._shards[shard].name, offset, size)
            if found != self.read(shard, offset, size):
                self._cache.drop(self._names[shard])
            return found
        with self._lock:
            is_first = shard not in self._replaced
            self._replaced.add(shard)
        if is_first:
            self._cache.drop(self._names[shard])
        return self.read(shard, offset, size)

    def key(self, shard: int, offset: int) -> str:
        """Key of the member whose data is at `offset`; raises DataError or OSError."""
        return read_key(self.read, shard, offset)

    def expect(self, shards: Sequence[int]) -> None:
        """These shards will be read in full: fetch them whole, as far ahead as the cache holds."""
        said = tuple(int(shard) for shard in shards)
        ahead, room = [], self._share * self._cache.max_bytes
        for shard in said:
            room -= self._shards[shard].size_bytes
            if room < 0:
                break
            ahead.append(shard)
        # At once: of two threads at a window's border, the list of one would stay with the other's.
        with self._lock:
            if said != self._said:
                self._said, self._expected, self._to_fetch = said, frozenset(said), ahead

    def cancel(self) -> None:
        """Let all requests fail from now on; what is cached can be read."""
        _stop(self._prefetch, self._store)

    close = cancel

    def open_whole(self, shard: int) -> int:
        """A descriptor of a whole shard, which the caller closes; raises OSError or DataError."""
        _, failure = self._failed.get(shard, (0.0, None))
        if isinstance(failure, OSError):  # an outage may be over
            self._raise_failure(shard, since=time.monotonic() - self._folder.timeout_s)
        descriptor = self._fetch(shard)
        assert descriptor is not None
        return descriptor

    def _read_cached(self, shard: int, offset: int, size: int) -> bytes | None:
        """None: to be read alone."""
        number = self._cache.open(self._names[shard])
        how = "hit"
        if number is None:
            if shard not in self._expected and self._store.has_ranges:
                return None
            number, how = self.open_whole(shard), "waited"
        try:
            self._count(**{how: 1})
            return os.pread(number, size, offset)
        finally:
            os.close(number)

    def _fetch_needed(self, shards: set[int]) -> None:
        """Of the shards that are expected anew, begin with those that are read now."""
        # Not before something is read: all images may come from a cache in memory. Under the lock,
        # or an older list could replace a newer one.
        with self._lock:
            if self._to_fetch is not None:
                self._ahead, self._to_fetch = self._to_fetch, None
                self._prefetch.replace([shard for shard in self._ahead if shard in shards])

    def _fetch_further(self) -> None:
        """Go on with all of them."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
            if ahead is not None:
                self._prefetch.replace(ahead)

    def _fetch_ahead(self, shard: int) -> None:
        if shard not in self._expected or shard in self._failed:
            return
        try:
            descriptor = self._fetch(shard, wait=False)
        except Exception:  # whatever it is, it is for the one who reads the shard
            return
        if descriptor is not None:
            os.close(descriptor)

    def _fetch(self, shard: int, *, wait: bool = True) -> int | None:
        size_bytes, begun = self._shards[shard].size_bytes, time.monotonic()

        def fill(part: int) -> None:
            # One that waited for another thread's failure does not begin anew.
            self._raise_failure(shard, since=begun)
            try:
                self._fill(shard, part)
            except (OSError, DataError) as error:
                failure = self._explained(error)
                # Also where a thread that fetches ahead was the first to meet it.
                self._failed[shard] = time.monotonic(), failure
                raise failure from None

        try:
            return self._cache.fetch(self._names[shard], size_bytes, fill, wait=wait)
        except OSError as error:
            failure = self._explained(error)
            self._failed[shard] = time.monotonic(), failure
            raise failure from None

    def _explained(self, error: OSError | DataError) -> OSError | DataError:
        """A full disk ends a run, since every further shard would meet it; else the same error."""
        if isinstance(error, DataError) or error.errno not in _DISK:
            return error
        return DataError(
            f"the disk of {self._folder.cache_folder} holds {show_size(self._cache.max_bytes)} of "
            f"remote shards, got {error.strerror}; free some of it, lower "
            "data.remote_cache_bytes, or set data.remote_cache to another disk"
        )

    def _raise_failure(self, shard: int, *, since: float) -> None:
        """The shard's last failure, when it is that recent."""
        failed_at, failure = self._failed.get(shard, (0.0, None))
        if failure is None or failed_at < since:
            return
        if isinstance(failure, OSError):
            raise OSError(failure.errno, failure.strerror)
        raise DataError(str(failure))

    def _fill(self, shard: int, part: int) -> None:
        info = self._shards[shard]
        reason = ""
        for _ in range(_ATTEMPTS):
            self._store.copy(info.name, info.size_bytes, part)
            self._count(shards=1, bytes=info.size_bytes)
            if info.sha256 is None:
                return
            found = sha256_of(part)
            if found == info.sha256:
                return
            reason = f"sha256 is {found[:12]}..., must be {info.sha256[:12]}..."
        raise OSError(errno.EIO, reason)

    def _count(self, **numbers: int) -> None:
        with self._lock:
            self.counts.update(numbers)


def _stop(prefetch: Prefetch, store: RemoteStore) -> None:
    prefetch.close()
    store.close()
