"""The one description of what lies on disk: tars, one index array beside them, one manifest.

    DIR/train-000000.tar ...    plain WebDataset tars, readable by any other tool
    DIR/index.npy               one `INDEX_DTYPE` record a sample, over all shards, memory-mapped
    DIR/manifest.json           shards (name, size, samples, sha256), classes, how it was made
    DIR/quarantine.jsonl        images that were refused when packing: name and reason, a line each
    DIR/converted.jsonl         images that lost something when packing: name and what, a line each
    DIR/.times.json             sizes and times of the tars, by which a rewritten one is noticed

The index makes a tar random-access: `offset` and `size` locate the image's bytes, and height and
width (after EXIF orientation) let a plan be drawn before anything is decoded. Keys are not stored:
a key is the tar member's name, which the header just before the data holds.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import numpy as np

from shards.errors import DataError

FORMAT_VERSION = 1
INDEX_NAME = "index.npy"
MANIFEST_NAME = "manifest.json"
QUARANTINE_NAME = "quarantine.jsonl"
# Of the tars, when they were last known to agree with their index; only of this disk.
TIMES_NAME = ".times.json"
# A set being packed grows in this folder inside its own; with it and no manifest it is unfinished.
PARTIAL_NAME = ".partial"
# Parts of a set that several machines pack lie in this one, until they are joined.
PARTS_NAME = ".parts"
TAR_BLOCK_BYTES = 512
NO_LABEL = -1
PACKER = "make_shards"  # the `tool` in the manifest of a set that was packed, not indexed in place
# A larger image is refused, packing and running: decoders allocate height x width x 3 bytes.
MAX_IMAGE_PIXELS = 100_000_000

# 32 bytes a sample.
INDEX_DTYPE = np.dtype(
    [
        ("offset", "<u8"),  # of the image's bytes in its tar
        ("size", "<u4"),  # bytes of the image
        ("crc32", "<u4"),  # zlib.crc32 of these bytes
        ("shard", "<u4"),  # position in the manifest's list of shards
        ("label", "<i4"),  # class number, NO_LABEL when there is none
        ("height", "<u2"),  # pixels, upright (after EXIF orientation)
        ("width", "<u2"),
        ("reserved", "<u4"),  # where the mask is (samples/masks.py), zero without one
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample of the index, as plain numbers: where its bytes are and what they should be."""

    id: int
    shard: int
    offset: int
    size: int
    crc32: int
    label: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.size <= 0 or self.height <= 0 or self.width <= 0:
            raise ValueError(
                f"an entry has positive size, height and width, got {self.size} bytes, "
                f"{self.height}x{self.width} for sample {self.id}; rebuild the index"
            )


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One tar of the manifest."""

    name: str  # file name, relative to the folder
    num_samples: int
    size_bytes: int
    sha256: str | None  # None for tars that were indexed in place without hashing

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name in ("", "..") or "/" in self.name:
            raise ValueError(f"a shard's name is that of a file in the folder, got {self.name!r}")
        for name in ("num_samples", "size_bytes"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 63:
                raise ValueError(f"a shard's {name} is a number from 0, got {count!r}")
        if not isinstance(self.sha256, str | None):
            raise ValueError(f"a shard's sha256 is text or null, got {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The folder's contents and origin; written last, so its presence means that all is there."""

    shards: tuple[ShardInfo, ...]  # in the order the index numbers them
    classes: tuple[str, ...]  # names of the class numbers, empty when there are none
    made: Mapping[str, object] = field(default_factory=dict)  # how: tool, source, options, versions
    index_sha256: str = ""  # of the records: which images, byte for byte; set by `write_index`

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) for name in (*self.classes, self.index_sha256)):
            raise ValueError("classes and index_sha256 are text")
        if not isinstance(self.made, Mapping):
            raise ValueError(f"made is a mapping, got {self.made!r}")
        if len({shard.name for shard in self.shards}) < len(self.shards):
            raise ValueError("no two shards have one name")

    @property
    def num_samples(self) -> int:
        """Samples over all shards."""
        return sum(shard.num_samples for shard in self.shards)

    @property
    def sealed(self) -> bool:
        """Whether every shard was hashed when it was written, so that any change is damage."""
        return all(shard.sha256 is not None for shard in self.shards)

    @property
    def is_packed(self) -> bool:
        """Whether our packer wrote the tars; others' are only indexed."""
        return self.made.get("tool") == PACKER

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the samples are; where they lie and how they were made do not count."""
        shards = [(s.name, s.num_samples, s.size_bytes) for s in self.shards]
        content = [FORMAT_VERSION, shards, self.classes, self.index_sha256]
        if "masks" in self.made:  # of which the index has no checksums
            content.append(self.made["masks"])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def to_json(self) -> str:
        """Text of `manifest.json`: the same manifest gives the same bytes."""
        content = {"version": FORMAT_VERSION, "num_samples": self.num_samples, **asdict(self)}
        return json.dumps(content, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> "Manifest":
        """Read `to_json`'s text; raises DataError for another version or anything else."""
        try:
            content = json.loads(text)
            version = content["version"]
            if version == FORMAT_VERSION:
                return Manifest(
                    shards=tuple(ShardInfo(**shard) for shard in _list(content["shards"])),
                    classes=tuple(_list(content["classes"])),
                    made=content["made"],
                    index_sha256=content["index_sha256"],
                )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(
                f"{MANIFEST_NAME} must be one written by AugEngine, got {error!r}; delete it "
                f"together with {INDEX_NAME} to have both rebuilt from the tars"
            ) from None
        raise DataError(
            f"{MANIFEST_NAME} must have version {FORMAT_VERSION}, got {version!r}; use the "
            f"AugEngine that wrote it, or delete it together with {INDEX_NAME} to have both rebuilt"
        )


@functools.cache  # it is read from a file, and asked for by every part of a pack
def version_of(package: str) -> str:
    """The installed version, for `Manifest.made`, or `unknown`, as ours is in a source tree."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return "unknown"


def _list(value: object) -> list:
    if not isinstance(value, list):
        raise TypeError(f"a list was expected, got {value!r}")
    return value
