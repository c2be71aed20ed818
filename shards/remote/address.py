"""Shards that lie elsewhere: their address, how they are read, and the fsspec file system for it.

A `RemoteFolder` stands where the path of a local folder stands. What it needs beyond fsspec is
imported when the first request is made, and credentials come only from where each provider's own
tools look for them.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from shards.errors import UsageError
from shards.remote.retry import Limits
from shards.store import cache_root

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

# Scheme to the package that fsspec needs for it.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp"}
MODES = ("cache", "range")
# Shards that are shuffled together: what must be there before the first batch, and as many again
# are fetched meanwhile.
DEFAULT_WINDOW_SHARDS = 8
# A request of a read that may take `timeout_s` may take this share of it.
_REQUEST_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """The address of remote shards, and the way to read them."""

    url: str
    mode: str = "cache"  # whole shards onto a local disk, or range: each image alone, into memory
    cache: Path | None = None  # folder of the whole shards; None: in the user's cache folder
    cache_bytes: int | None = None  # its bound; None: by the free disk
    timeout_s: float = 60.0  # after so long without success a read is given up

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url))
        if self.mode not in MODES:
            raise UsageError(f"remote shards are read by {' or '.join(MODES)}, got {self.mode!r}")
        if not self.timeout_s > 0:
            raise UsageError(f"a time limit is positive, got {self.timeout_s} s; try 60")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    @property
    def cache_folder(self) -> Path:
        """The folder for whole shards."""
        return self.cache or cache_root() / "shards"

    @property
    def limits(self) -> Limits:
        """The times that its requests keep."""
        return Limits(self.timeout_s, self.timeout_s * _REQUEST_SHARE)


Location = str | os.PathLike[str] | RemoteFolder


def remote_folder(directory: Location | None) -> RemoteFolder | None:
    """An address as a `RemoteFolder`; None for a path."""
    if directory is None or isinstance(directory, RemoteFolder):
        return directory
    address = os.fspath(directory)
    return RemoteFolder(address) if "://" in address else None


def located(directory: Location) -> "Path | RemoteFolder":
    """A path or an address as one of two types; UsageError when it is no address of shards."""
    remote = remote_folder(directory)
    if remote is not None:
        return remote
    assert not isinstance(directory, RemoteFolder)
    return Path(directory)


def default_window(directory: Location | None) -> int | None:
    """Shards that a run shuffles together when nothing is said; None: everything."""
    return DEFAULT_WINDOW_SHARDS if remote_folder(directory) else None


def checked_url(url: str) -> str:
    """The address without a slash at its end; UsageError when it is no address of shards.

    The message never repeats what may be a secret.
    """
    scheme = url.partition("://")[0]
    if scheme not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise UsageError(
            f"remote shards lie at {known}, got {scheme}://...; copy them to a disk or to one of "
            f"these"
        )
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment or not _has_plain_port(url):
        raise UsageError(
            f"an address of shards holds no password, key or signature, got one after "
            f"{scheme}://; take it out: credentials come from the environment or the provider's "
            f"own files (docs/remote.md)"
        )
    if not parts.netloc:
        raise UsageError(f"an address names a bucket or a host, got {url}; try {scheme}://NAME/DIR")
    return url.rstrip("/")


def connect(folder: RemoteFolder) -> "AsyncFileSystem":
    """The file system of an address; UsageError names the package that is missing."""
    import fsspec
    from fsspec.asyn import AsyncFileSystem

    scheme = folder.url.partition("://")[0]
    try:
        system = fsspec.filesystem(scheme, **_options(scheme))
    except ImportError:
        package = PACKAGES[scheme]
        raise UsageError(
            f"{scheme}:// needs the Python package {package}, got none; pip install {package}"
        ) from None
    assert isinstance(system, AsyncFileSystem)
    if hasattr(system, "retries"):
        # `retry.py` does it, within a stated time.
        system.retries = 1  # pyright: ignore[reportAttributeAccessIssue]
    return system


def file_url(folder: RemoteFolder, name: str) -> str:
    """Address of a file of the folder."""
    return f"{folder.url}/{quote(name) if folder.url.startswith('http') else name}"


def _options(scheme: str) -> dict[str, object]:
    """Options that we set; the rest is fsspec's own configuration, such as FSSPEC_S3_ANON=true."""
    import fsspec.config

    if scheme == "s3":
        own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        return {
            "config_kwargs": {**own, "retries": {"max_attempts": 0}, "max_pool_connections": 32}
        }
    if scheme == "gs":
        return {}
    # Proxies and logins from the environment and ~/.netrc; compressed answers have no ranges.
    return {"client_kwargs": {"trust_env": True}, "headers": {"Accept-Encoding": "identity"}}


def _has_plain_port(url: str) -> bool:
    """Not so in `https://user:secret/...`, which has lost its @."""
    try:
        return urlsplit(url).port is not False
    except ValueError:
        return False
