"""A bucket as the home of a set: `folder` is a scratch folder, a tar passes through it.

    listing, journals, lists -> folder -> shard by shard: tar, records, journal -> bucket
    last: lists, index, manifest; then no journals

Shards get their final names at once, since nothing can be renamed there: until the manifest comes
they are no set to any reader. The journals lie in the bucket too, so that a killed pack goes on
from any machine. The same source and options give the same bytes, so whoever uploads a shard twice
changes nothing.
"""

import functools
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from shards.format import INDEX_NAME, PARTIAL_NAME
from shards.packing.home import DiskHome, Home, State
from shards.packing.part import Part
from shards.packing.scratch import scratch_folder
from shards.remote.address import Location, RemoteFolder, located
from shards.remote.bucket import Bucket, Put, check_bucket
from shards.remote.requests import RemoteStore

# The files that a pack leaves: beside the shards, in its journal, in a part and its journal.
_FILE = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_KNOWN = re.compile(rf"((\.parts/part-\d{{5}}-of-\d{{5}}/)?(\.partial/)?){_FILE}")
_PART_JOURNAL = re.compile(r"\.parts/[^/]+/\.partial/(?!recipe\.json$)")
_PIECE_BYTES = 2 << 20
_PIECES_AT_ONCE = 4


@contextmanager
def open_home(where: Location, *, brief: bool = False, part: Part | None = None) -> Iterator[Home]:
    """The home of a set at a path or an address, for a block.

    Args:
        where: as a user names it.
        brief: of an address, leave out the journals of parts.
        part: but for this one.

    Raises:
        UsageError: nothing can be put there, or there is no such bucket.
        DataError: the bucket does not answer, or has no credentials of ours.
    """
    remote = located(where)
    if isinstance(remote, Path):
        yield DiskHome(remote)
        return
    check_bucket(remote)
    with scratch_folder() as scratch:
        home = BucketHome(remote, scratch / remote.name)
        try:
            home.pull(brief, part)
            yield home
        except (UsageError, DataError) as error:  # of a file here, which nobody knows
            raise type(error)(str(error).replace(str(home.folder), remote.url)) from None


class BucketHome:
    """An address in a bucket, and the folder that stands for it on this machine."""

    renames = False

    def __init__(self, remote: RemoteFolder, folder: Path) -> None:
        self.where, self.folder = remote, folder
        self._found: dict[str, Put] | None = None

    def __reduce__(self) -> tuple[type["BucketHome"], tuple[RemoteFolder, Path]]:
        return BucketHome, (self.where, self.folder)

    def pull(self, brief: bool = False, part: Part | None = None) -> None:
        """Bring here what is said of the set and its parts: everything but tars and the index.

        Args:
            brief: of parts only their recipes and descriptions,
            part: but of this one everything.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.look()
        own = "" if part is None else part.folder(Path()).as_posix()
        objects = {
            name: found
            for name, found in self._objects().items()
            if _KNOWN.fullmatch(name)
            and not name.endswith(".tar")
            and name != INDEX_NAME
            and (not (brief and _PART_JOURNAL.match(name)) or (own and name.startswith(own)))
        }
        places = [(name, 0, found.size_bytes) for name, found in objects.items()]
        for name, content in zip(objects, _store(self.where).read_many(places), strict=True):
            if isinstance(content, OSError):
                raise self._lost(name, content)
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)

    def names(self) -> list[str]:
        """As of every home."""
        return sorted({name.partition("/")[0] for name in self._objects()})

    def state(self, path: Path) -> State | None:
        """As of every home."""
        found = self._objects().get(self._name(path))
        return None if found is None else (found.size_bytes, found.tag)

    def look(self) -> None:
        """As of every home."""
        self._found = _bucket(self.where).objects()

    def send(self, path: Path) -> None:
        """Upload it; a tar does not stay here."""
        name, size = self._name(path), path.stat().st_size
        _bucket(self.where).put(path, name)
        if self._found is not None:
            self._found[name] = Put(size, "")
        if path.suffix == ".tar":
            path.unlink()

    def remove(self, paths: Sequence[Path]) -> None:
        """As of every home."""
        DiskHome(self.folder).remove(paths)
        names = [self._name(path) for path in paths]
        gone = [
            name
            for name in self._objects()
            if name in names or any(name.startswith(f"{folder}/") for folder in names)
        ]
        _bucket(self.where).remove(gone)
        for name in gone:
            self._objects().pop(name, None)

    @contextmanager
    def tar(self, path: Path, size_bytes: int) -> Iterator[Path]:
        """Fetch it into a folder of its own."""
        name = self._name(path)
        with scratch_folder() as scratch:
            fetched = scratch / path.name
            with open(fetched, "wb") as file:
                try:
                    _store(self.where).copy(name, size_bytes, file.fileno())
                except OSError as error:
                    raise self._lost(name, error) from None
            yield fetched

    def pieces(self, path: Path, start: int, stop: int) -> Iterator[bytes]:
        """As of every home: some pieces side by side."""
        store, name = _store(self.where), self._name(path)
        starts = range(start, stop, _PIECE_BYTES)
        for first in range(0, len(starts), _PIECES_AT_ONCE):
            some = starts[first : first + _PIECES_AT_ONCE]
            places = [(name, at, min(_PIECE_BYTES, stop - at)) for at in some]
            for content in store.read_many(places):
                if isinstance(content, OSError):
                    raise self._lost(name, content)
                yield content

    @contextmanager
    def attempt(self, path: Path, token: str) -> Iterator[Path]:
        """In a folder of this machine, whichever it is; sent when it is whole."""
        with scratch_folder() as scratch:
            made = scratch / path.name
            yield made
            _bucket(self.where).put(made, self._name(path))

    def accept(self, path: Path, token: str) -> None:
        """Nothing to do: equal bytes have come under one name."""

    def _lost(self, name: str, error: OSError) -> DataError:
        return DataError(
            f"what was packed before is read from the bucket of OUT, got {error.strerror} for "
            f"{name} at {self.where}; repeat the command, it continues"
        )

    def _objects(self) -> dict[str, Put]:
        if self._found is None:
            self.look()
        assert self._found is not None
        return self._found

    def _name(self, path: Path) -> str:
        """The name below the address of a file of `folder`."""
        name = path.relative_to(self.folder)
        if name.suffix == ".tar" and name.parts[:-1] == (PARTIAL_NAME,):
            return name.name
        return name.as_posix()


@functools.lru_cache(maxsize=4)
def _bucket(remote: RemoteFolder) -> Bucket:
    return Bucket(remote)


@functools.lru_cache(maxsize=4)
def _store(remote: RemoteFolder) -> RemoteStore:
    return RemoteStore(remote)
