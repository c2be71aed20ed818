"""Are remote tars still those that their index was made of? Their server's tags tell it.

No tar is read. What each one's tag was (a checksum, an ETag, or when it was last modified) is kept
beside the fetched index. Images are held to their crc32 wherever they come from, so what could be
wrong in silence are the labels: a tar that was uploaded again without its manifest is named at
every start. One that came with its manifest is a copy of the set.
"""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from shards.atomic import write_whole
from shards.errors import DataError
from shards.format import MANIFEST_NAME, TIMES_NAME, Manifest
from shards.remote.requests import RemoteStore

# One request a tar; of larger sets so many, spread over all.
_MOST_ASKED = 1_000
# The ranks of a run open the same address one after the other.
_ASKED_AGAIN_S = 60.0
# By preference: those of the content stay the same when it is copied.
_TAGS = ("md5hash", "crc32c", "content-md5", "digest", "etag", "lastmodified", "last-modified")
_TAGS += ("updated", "mtime")
_log = logging.getLogger(__name__)


def note_changes(store: RemoteStore, address: str, place: Path, manifest: Manifest) -> None:
    """Warn of tars that are others than when this manifest was first seen; never raises."""
    path = place / TIMES_NAME
    kept = _read(path, manifest.index_sha256)
    with contextlib.suppress(OSError):
        if kept is not None and 0 <= time.time() - path.stat().st_mtime < _ASKED_AGAIN_S:
            return
    now = _tags_of(store, manifest)
    if MANIFEST_NAME not in now:
        return
    changed = sorted(name for name in now if kept and kept.get(name, now[name]) != now[name])
    if changed and MANIFEST_NAME not in changed:
        _log.warning(
            "%d of %d tars at %s are not those that their index was made of (%s): images are "
            "checked, labels are the index's; run `python -m tools.make_shards DIR` where they lie "
            "on a disk and upload %s and index.npy again",
            len(changed),
            len(manifest.shards),
            address,
            changed[0],
            MANIFEST_NAME,
        )
        now |= kept or {}
    content = {"index_sha256": manifest.index_sha256, "tars": (kept or {}) | now}
    with contextlib.suppress(DataError, OSError):
        write_whole(path, json.dumps(content) + "\n")


def _tags_of(store: RemoteStore, manifest: Manifest) -> dict[str, str]:
    names = [shard.name for shard in manifest.shards]
    step = max(1, -(-len(names) // _MOST_ASKED))
    try:
        found = store.info_many([MANIFEST_NAME])
        if found:  # a server that does not answer such requests is asked once
            found |= store.info_many(names[::step])
    except (DataError, OSError):
        return {}  # whoever reads them will say what is wrong
    return {name: tag for name, info in found.items() if (tag := _tag(info))}


def _tag(info: Mapping[str, object]) -> str:
    known = {key.lower(): value for key, value in info.items()}  # headers come in any case
    tag = next((str(known[key]) for key in _TAGS if known.get(key)), "")
    return f"{known.get('size')} {tag}" if tag else ""


def _read(path: Path, index_sha256: str) -> dict[str, str] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["index_sha256"] != index_sha256:
            return None
        return {str(name): str(tag) for name, tag in content["tars"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
