"""A bucket that is written to: what lies below an address, and files that are put there whole.

An object is there with all of its bytes or not at all: that is what S3 and Google's storage
promise of an upload, also of one in pieces. Nothing can be renamed there. Requests are asked again
as those that read (`retry.py`), and `requests.py` reads what was put.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shards.errors import DataError, UsageError
from shards.remote.address import RemoteFolder, connect, file_url
from shards.remote.failure import is_missing, reason_of
from shards.remote.retry import Retries

# What a link must bring, beside the time of any request.
_SLOWEST_BYTES_PER_S = 1 << 20
_SCHEMES = ("s3", "gs")
_TAGS = ("ETag", "md5Hash", "crc32c")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Put:
    """An object as the bucket tells of it."""

    size_bytes: int
    tag: str  # changes with its content; empty where the bucket tells none


def check_bucket(folder: RemoteFolder) -> None:
    """Refuse an address where nothing can be put; raises UsageError."""
    if folder.url.partition("://")[0] not in _SCHEMES:
        raise UsageError(
            f"OUT is a folder or lies in a bucket, {' or '.join(f'{s}://' for s in _SCHEMES)}, got "
            f"{folder}, where nothing can be put; name a folder, and copy it there when it is whole"
        )


class Bucket:
    """The objects below an address; calls block, and raise UsageError or DataError in one line."""

    def __init__(self, folder: RemoteFolder) -> None:
        """Connect; UsageError names a package that is missing."""
        check_bucket(folder)
        self._folder = folder
        self._system = connect(folder)

    def objects(self) -> dict[str, Put]:
        """Every object by its name below the address; UsageError when there is no such bucket."""

        async def once() -> dict[str, Put]:
            self._system.invalidate_cache()
            found: Any = await self._system._find(self._folder.url, detail=True)
            root = f"{self._system._strip_protocol(self._folder.url)}/"
            return {
                path.removeprefix(root): Put(int(info["size"]), _tag(info))
                for path, info in found.items()
                if path.startswith(root) and info["type"] == "file"
            }

        return self._do(once, "be listed")

    def put(self, path: Path, name: str) -> None:
        """Upload a file under a name below the address, in place of what has that name."""

        async def once() -> None:
            await self._system._put_file(str(path), self._url(name))

        more_s = path.stat().st_size / _SLOWEST_BYTES_PER_S
        self._do(once, f"take {name}", more_s)

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects; what is not there is passed over."""

        def of(name: str) -> Callable[[], Awaitable[None]]:
            async def once() -> None:
                try:
                    await self._system._rm_file(self._url(name))
                except FileNotFoundError:
                    return

            return once

        async def all_of_them(retries: Retries) -> None:
            await asyncio.gather(*(retries(of(name)) for name in names))

        self._run(all_of_them, "be rid of what was unfinished")

    def _do(self, once: Callable[[], Awaitable[Result]], what: str, more_s: float = 0.0) -> Result:
        async def asked(retries: Retries) -> Result:
            return await retries(once, more_s=more_s)

        return self._run(asked, what)

    def _run(self, work: Callable[[Retries], Awaitable[Result]], what: str) -> Result:
        async def all_of_it() -> Result:
            return await work(Retries(self._folder.limits))

        assert self._system.loop is not None
        future = asyncio.run_coroutine_threadsafe(all_of_it(), self._system.loop)
        try:
            return future.result()
        except OSError as error:
            raise self._refusal(error, what) from None
        finally:
            future.cancel()  # after Ctrl-C it still runs

    def _refusal(self, error: OSError, what: str) -> UsageError | DataError:
        cause = error.__cause__ or error
        reason = error.strerror or reason_of(cause, self._folder.limits.request_s)
        if is_missing(cause):
            return UsageError(
                f"OUT lies in a bucket that exists, got {self._folder} ({reason}); make the "
                f"bucket, or mend the address"
            )
        return DataError(
            f"the bucket of OUT must {what}, got {reason} at {self._folder}; check the address, "
            f"the network, and the credentials that its provider's own tools use; the same command "
            f"continues"
        )

    def _url(self, name: str) -> str:
        return file_url(self._folder, name)


def _tag(info: dict[str, object]) -> str:
    return next((str(info[key]) for key in _TAGS if info.get(key)), "")
