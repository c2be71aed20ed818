"""The index of a remote folder, kept in the user's cache folder and renewed when it has changed.

The manifest is small and asked for each time; the records are fetched when it says something new,
and checked against its sha256; whether the tars are still those of the manifest `server_tags.py`
asks. Tars without an index are not scanned from afar: that would move every byte, for each user
again.
"""

import errno
import hashlib
from pathlib import Path

import numpy as np

from shards.atomic import atomic_file, write_whole
from shards.errors import DataError, UsageError
from shards.format import INDEX_DTYPE, INDEX_NAME, MANIFEST_NAME, Manifest
from shards.remote.address import RemoteFolder
from shards.remote.requests import RemoteStore
from shards.remote.server_tags import note_changes
from shards.store import index_cache, locked, map_records

_ATTEMPTS = 2  # a set that is replaced at this moment is whole the second time
_NPY_START_BYTES = 10  # of a .npy file: magic, version 1.0, and the length of its header


def fetch_index(folder: RemoteFolder) -> tuple[np.ndarray, Manifest]:
    """Records, memory-mapped, and manifest of a remote folder.

    Raises:
        UsageError: a package is missing, or images are to be read one by one from a server that
            sends whole files only.
        DataError: no index there, a wrong one, no answer, or no cache folder to write to.
    """
    store = RemoteStore(folder)
    place = index_folder(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        # Ranks open the same index at once: one fetches it.
        with locked(place):
            for _ in range(_ATTEMPTS):
                text = _manifest_text(store)
                _check_ranges(store, folder)
                manifest = Manifest.from_json(text.decode())
                records = _cached(place, text, manifest)
                if records is None:
                    records = _fetched(store, place, text, manifest)
                if records is not None:
                    note_changes(store, str(folder), place, manifest)
                    return records, manifest
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"at {folder}: {error}") from None
    except OSError as error:
        raise DataError(
            f"the index of {folder} is fetched into {place}, got {error.strerror}; set "
            f"AUGENGINE_CACHE to a folder of yours with room for it"
        ) from None
    raise DataError(
        f"{INDEX_NAME} must be the one that {MANIFEST_NAME} describes, got another at {folder}; "
        f"upload both again, together"
    )


def index_folder(folder: RemoteFolder) -> Path:
    """The local place of a remote folder's index."""
    return index_cache(folder.name, folder.url.encode())


def _manifest_text(store: RemoteStore) -> bytes:
    try:
        return store.read_whole(MANIFEST_NAME)
    except FileNotFoundError:
        raise DataError(
            f"remote shards have {MANIFEST_NAME} and {INDEX_NAME} beside the tars, got none; run "
            f"`python -m tools.make_shards DIR` where the tars lie on a disk and upload both files"
        ) from None
    except OSError as error:
        raise DataError(
            f"{MANIFEST_NAME} must be readable, got {error.strerror}; check the address, and the "
            f"credentials that its provider's own tools use"
        ) from None


def _check_ranges(store: RemoteStore, folder: RemoteFolder) -> None:
    if not store.ask_for_ranges() and folder.mode == "range":
        raise UsageError(
            f"images are read one by one where the server sends parts of files, got {folder}, "
            f"which sends whole ones; read it with data.remote=cache"
        )


def _cached(place: Path, text: bytes, manifest: Manifest) -> np.ndarray | None:
    """The records that are here already, if they belong to this very manifest."""
    try:
        is_same = (place / MANIFEST_NAME).read_bytes() == text
    except FileNotFoundError:
        return None
    return map_records(place, manifest.num_samples) if is_same else None


def _fetched(store: RemoteStore, place: Path, text: bytes, manifest: Manifest) -> np.ndarray | None:
    """The records from afar; None when they are not the manifest's."""
    # The manifest comes last: with it, the folder is whole.
    (place / MANIFEST_NAME).unlink(missing_ok=True)
    with atomic_file(place / INDEX_NAME) as file:
        _copy_index(store, manifest, file.fileno())
    records = map_records(place, manifest.num_samples)
    if records is None or hashlib.sha256(records.data).hexdigest() != manifest.index_sha256:
        return None
    write_whole(place / MANIFEST_NAME, text)
    return records


def _copy_index(store: RemoteStore, manifest: Manifest, descriptor: int) -> None:
    size_bytes = manifest.num_samples * INDEX_DTYPE.itemsize
    try:
        if store.has_ranges:
            start = store.read(INDEX_NAME, 0, _NPY_START_BYTES)
            size_bytes += _NPY_START_BYTES + int.from_bytes(start[-2:], "little")
        store.copy(INDEX_NAME, size_bytes, descriptor, is_exact=store.has_ranges)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise DataError(
            f"{INDEX_NAME} must lie beside {MANIFEST_NAME}, whole, got {error.strerror}; upload "
            f"both again, together"
        ) from None
