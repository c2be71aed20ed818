"""The place of an index: beside its tars, or in the user's cache folder; written whole.

A file gets its final name only when it is complete, and the manifest comes last, so an interrupted
write leaves a folder without a manifest, never one that looks whole. The lists beside an index, of
images that were refused or converted, are JSON lines.
"""

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import write_whole
from shards.errors import DataError
from shards.format import INDEX_DTYPE, INDEX_NAME, MANIFEST_NAME, Manifest
from shards.npy import ArrayError, map_array

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


def write_index(
    directory: str | os.PathLike[str], records: np.ndarray, manifest: Manifest
) -> Manifest:
    """Write `index.npy`, then `manifest.json`, each atomically.

    Args:
        directory: an existing folder: that of the tars, or a cache.
        records: [N] INDEX_DTYPE, shard after shard in the manifest's order.
        manifest: describes the shards; its `index_sha256` is replaced by the right one.

    Returns:
        The manifest as written.

    Raises:
        ValueError: the records do not agree with the manifest.
    """
    records = np.ascontiguousarray(records, dtype=INDEX_DTYPE)
    expected = np.repeat(
        np.arange(len(manifest.shards)), [shard.num_samples for shard in manifest.shards]
    )
    if not np.array_equal(records["shard"], expected):
        raise ValueError(
            f"records come shard after shard, as many as the manifest says, got {len(records)} "
            f"for {manifest.num_samples} in {len(manifest.shards)} shards"
        )
    folder = Path(directory)
    manifest = replace(manifest, index_sha256=hashlib.sha256(records.data).hexdigest())
    # An old manifest beside new records would look whole.
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    array = io.BytesIO()
    np.save(array, records, allow_pickle=False)
    write_whole(folder / INDEX_NAME, array.getbuffer())
    write_whole(folder / MANIFEST_NAME, manifest.to_json().encode())
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None without one; raises DataError when it cannot be read."""
    path = folder / MANIFEST_NAME
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        # A cache folder that is closed to us: to the one who wants to write there, that matters.
        if not os.access(folder, os.X_OK):
            return None
        raise DataError(
            f"{path} must be readable text, got {error}; restore or delete it"
        ) from None
    except DataError as error:
        raise DataError(f"in {folder}: {error}") from None


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Replace a list of JSON lines beside an index, one a row; no rows leave no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_whole(path, "".join(f"{json.dumps(row)}\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of such a list, none where there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def map_records(folder: Path, num_samples: int) -> np.ndarray | None:
    """Map `index.npy` without reading it; None when it is not `num_samples` whole records."""
    try:
        records = map_array(folder / INDEX_NAME, INDEX_DTYPE)
    except (OSError, ArrayError):
        return None
    return records if len(records) == num_samples else None


def cache_root() -> Path:
    """$AUGENGINE_CACHE, else $XDG_CACHE_HOME/augengine, else ~/.cache/augengine."""
    root = os.environ.get("AUGENGINE_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "augengine"


def cache_folder(directory: Path) -> Path:
    """The place for the index of a folder that cannot be written; it need not exist."""
    return index_cache(directory.resolve().name, os.fsencode(directory.resolve()))


def index_cache(name: str, address: bytes) -> Path:
    """The place for the index of the folder at an address, by its name; it need not exist."""
    return cache_root() / "indexes" / f"{name}-{hashlib.sha256(address).hexdigest()[:16]}"


def folder_to_write(directory: Path) -> Path:
    """The folder itself where it can be written, else its cache folder, which is created.

    Raises:
        DataError: neither can be written.
    """
    if _can_write(directory):
        return directory
    cache = cache_folder(directory)
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    if _can_write(cache):
        return cache
    raise DataError(
        f"an index needs a folder that can be written, got neither {directory} nor {cache}; set "
        f"AUGENGINE_CACHE to a folder of yours"
    )


@contextlib.contextmanager
def locked(folder: Path, *, make: bool = False) -> Iterator[None]:
    """Let one process at a time build here: the ranks of a run all open the same folder at once.

    Without a lock (another system, a network disk that has none) they build the same files twice.

    Args:
        folder: the one to lock.
        make: create it, also when the process that was waited for took it away.
    """
    descriptor = _lock(folder, make)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, make: bool) -> int:
    """The descriptor that holds the lock of the folder that is at this path now."""
    while True:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            if not make:
                raise
            continue
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A folder that was removed meanwhile has a lock that nobody else asks for.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without a name, as in containers: nothing can lie below this
        return Path(os.devnull)


def _can_write(folder: Path) -> bool:
    """Try it: permission bits say nothing about read-only mounts, quotas or root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
