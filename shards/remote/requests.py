"""Requests for the files of a remote folder: blocking calls, many at once behind each of them.

The requests run on fsspec's event loop; `retry.py` repeats those that fail. A byte range of a tar
is one request of `_part`.

The contract. Code that differs is the bug.

Success. The bytes asked for, of the length asked for.
Failure. What concerns one file (it is missing, closed to us, too short, or fails for `timeout_s`
    while others are answered) is an OSError whose `strerror` says why. When nothing answers any
    more, it is a DataError: replacing samples would not help.
Time. Every call ends `timeout_s` after the last answer that any of its requests got, plus one
    request's time for asking whether the folder answers at all.
Cancel. `close()`, from any thread: what runs and what comes later raises OSError.
"""

import asyncio
import concurrent.futures
import errno
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from shards.errors import DataError
from shards.format import MANIFEST_NAME
from shards.remote.address import RemoteFolder, connect, file_url
from shards.remote.failure import reason_of
from shards.remote.retry import MAX_REQUESTS, GaveUpError, Request, Retries, WrongBytesError
from shards.tars.local_files import Descriptor
from shards.terminal.counted import counted

Result = TypeVar("Result")
Place = tuple[str, int, int]  # file name, offset, size
# A failed request costs this much; a link must bring it within a request's time.
_PIECE_BYTES = 2 << 20
# A file that cannot be fetched in pieces has a second more for each of these.
_SLOWEST_BYTES_PER_S = 1 << 20
_HAS_RANGES: dict[str, bool] = {}  # by address: whether parts of files can be asked for


class RemoteStore:
    """Reads the files of one folder; thread-safe."""

    def __init__(self, folder: RemoteFolder) -> None:
        self._folder = folder
        self._system = connect(folder)
        assert self._system.loop is not None
        self._loop = self._system.loop
        self._retries = Retries(folder.limits)
        self._lock = threading.Lock()
        self._running: set[concurrent.futures.Future] = set()
        self._closed = False

    @property
    def has_ranges(self) -> bool:
        """Whether parts of a file can be asked for: not of every HTTP server."""
        found = _HAS_RANGES.get(self._folder.url)
        return self.ask_for_ranges() if found is None else found

    def ask_for_ranges(self) -> bool:
        """Find out; the answer holds for all stores of this address."""
        if not self._folder.url.startswith("http"):
            return _HAS_RANGES.setdefault(self._folder.url, True)

        # Without ranges the whole file comes, and this one is small.
        async def first_byte() -> bytes:
            return await self._system._cat_file(self._url(MANIFEST_NAME), start=0, end=1)

        found = self._run(lambda: self._reachable(first_byte))
        _HAS_RANGES[self._folder.url] = len(found) == 1
        return len(found) == 1

    def read(self, name: str, offset: int, size: int) -> bytes:
        """A part of a file."""
        (found,) = self.read_many([(name, offset, size)])
        if isinstance(found, OSError):
            raise found
        return found

    def read_many(self, places: Sequence[Place]) -> list[bytes | OSError]:
        """Parts of files, side by side; errors of single files are returned."""
        try:
            return self._run(lambda: _gather([self._answer(*place) for place in places]))
        except OSError as error:  # closed
            return [error] * len(places)

    def read_whole(self, name: str) -> bytes:
        """A small file; FileNotFoundError when it is not there."""

        async def once() -> bytes:
            return await self._system._cat_file(self._url(name))

        try:
            return self._run(lambda: self._reachable(once))
        except OSError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise FileNotFoundError(errno.ENOENT, error.strerror) from None
            raise

    def info_many(self, names: Sequence[str]) -> dict[str, dict[str, object]]:
        """The server's facts about files without their bytes, in fsspec's names.

        Files of which it says nothing at once are left out: not every server answers such requests.
        """
        slots = asyncio.Semaphore(MAX_REQUESTS)

        async def ask(name: str) -> dict[str, object]:
            try:
                async with slots:
                    about = self._about(self._url(name))
                    return await asyncio.wait_for(about, self._folder.limits.request_s)
            except Exception:
                return {}

        found = self._run(lambda: _gather([ask(name) for name in names]))
        return {name: info for name, info in zip(names, found, strict=True) if info}

    def copy(self, name: str, size: int, descriptor: int, *, is_exact: bool = True) -> None:
        """Write a whole file into an open one; OSError also when it has another size."""
        # Of its own: what is cancelled may still write when the caller has closed his.
        target = Descriptor(os.dup(descriptor))
        if not self.has_ranges or not is_exact:
            self._run(lambda: self._copy_stream(name, size, target, is_exact))
            return
        starts = range(0, size, _PIECE_BYTES)
        self._run(lambda: _gather([self._copy_piece(name, x, size, target) for x in starts]))

    def close(self) -> None:
        """End what runs; harmless when done twice."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for future in running:
            future.cancel()

    def _run(self, work: Callable[[], Coroutine[object, object, Result]]) -> Result:
        with self._lock:
            if self._closed:
                raise OSError(errno.ECANCELED, "the reader is closed")
            future = asyncio.run_coroutine_threadsafe(work(), self._loop)
            self._running.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise OSError(errno.ECANCELED, "the reader is closed") from None
        finally:
            future.cancel()  # after Ctrl-C it still runs
            with self._lock:
                self._running.discard(future)

    async def _about(self, url: str) -> dict[str, object]:
        if not url.startswith("http"):
            return await self._system._info(url)
        # fsspec asks a server that refuses HEAD for the whole file instead.
        system: Any = self._system
        session = await system.set_session()
        head = session.head(system.encode_url(url), allow_redirects=True, **system.kwargs)
        async with head as answer:
            answer.raise_for_status()
            return {"size": answer.headers.get("Content-Length"), **answer.headers}

    async def _answer(self, name: str, offset: int, size: int) -> bytes | OSError:
        try:
            return await self._part(name, offset, size)
        except OSError as error:
            return error

    async def _part(self, name: str, offset: int, size: int, more: int = 0) -> bytes:
        """Exactly `size` bytes, though `more` were asked for: they must not be there."""

        async def once() -> bytes:
            end = offset + size + more
            found = await self._system._cat_file(self._url(name), start=offset, end=end)
            if len(found) != size:
                raise WrongBytesError(f"{counted(len(found), 'byte')} came, must be {size:,}")
            return found

        return await self._reachable(once)

    async def _reachable(self, once: Request[Result], *, more_s: float = 0.0) -> Result:
        """The result; DataError when it is given up and the folder does not answer at all."""
        try:
            return await self._retries(once, more_s=more_s)
        except GaveUpError as error:
            request_s = self._folder.limits.request_s
            manifest = self._system._cat_file(self._url(MANIFEST_NAME), start=0, end=1)
            try:
                await asyncio.wait_for(manifest, request_s)
            except Exception as silence:
                raise DataError(
                    f"remote shards must answer within {self._folder.timeout_s:g} s, got nothing "
                    f"from {self._folder} ({error.strerror}; {reason_of(silence, request_s)}); "
                    f"check the network and the address, or raise data.remote_timeout_s"
                ) from None
            raise

    async def _copy_piece(self, name: str, start: int, size: int, target: Descriptor) -> None:
        length = min(_PIECE_BYTES, size - start)
        is_last = start + length == size
        content = await self._part(name, start, length, more=int(is_last))
        _write_at(target, content, start)

    async def _copy_stream(self, name: str, size: int, target: Descriptor, is_exact: bool) -> None:
        async def once() -> None:
            # The size spares a request; it is used for seeking only.
            file = await self._system.open_async(self._url(name), "rb", size=size)
            done = 0
            try:
                request_s = self._folder.limits.request_s
                while piece := await asyncio.wait_for(file.read(_PIECE_BYTES), request_s):
                    _write_at(target, piece, done)
                    done += len(piece)
            finally:
                await file.close()
            if is_exact and done != size:
                raise WrongBytesError(f"{counted(done, 'byte')} came, must be {size:,}")

        await self._reachable(once, more_s=size / _SLOWEST_BYTES_PER_S)

    def _url(self, name: str) -> str:
        return file_url(self._folder, name)


async def _gather(work: Sequence[Coroutine[object, object, Result]]) -> list[Result]:
    """All results; the first error ends the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _write_at(target: Descriptor, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(target.number, view, offset)
        view, offset = view[written:], offset + written
