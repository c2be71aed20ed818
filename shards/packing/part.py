"""A part of a pack: I of N, any of which any machine makes, in any order.

Part I of N has the I-th of N equal runs of the packing order. It lies in OUT/.parts/part-I-of-N, a
staging folder as an unfinished pack has one, and beside it `part.json` once it is whole. What the
parts hold does not depend on who made them, when, or on what was interrupted.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from shards.format import PARTS_NAME, ShardInfo

PART_VERSION = 1
PART_NAME = "part.json"
_MAX_PARTS = 99_999
SHARD_NAME = "[A-Za-z0-9_-]{1,64}"


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of a set."""

    number: int  # from 1
    of: int

    def __str__(self) -> str:
        """The part, as a user types it."""
        return f"{self.number}/{self.of}"

    def span(self, total: int) -> tuple[int, int]:
        """Where its samples begin and end, of so many in packing order; none where N is more."""
        return total * (self.number - 1) // self.of, total * self.number // self.of

    def folder(self, out: Path) -> Path:
        """The place of its shards."""
        return out / PARTS_NAME / f"part-{self.number:05d}-of-{self.of:05d}"


@dataclass(frozen=True, slots=True)
class WholePart:
    """The contents of `part.json`: a part that is finished."""

    recipe: Mapping[str, Any]  # of the set
    source: str  # what its maker called it
    classes: tuple[str, ...]
    shards: tuple[ShardInfo, ...]
    records_sha256: str  # of the records of its shards, one after the other
    num_refused: int
    num_converted: int
    bounds_sha256: str = ""  # likewise of where their samples begin; empty in older parts
    version: int = PART_VERSION

    @property
    def num_samples(self) -> int:
        """Images over its shards."""
        return sum(shard.num_samples for shard in self.shards)


def parse_part(text: str) -> Part:
    """A part from a text such as 2/5; raises UsageError."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of <= _MAX_PARTS:
        raise UsageError(
            f"a part is I/N with I from 1 to N and N up to {_MAX_PARTS:,}, got {text!r}; give such "
            f"as 1/4, in an array of SLURM --array=1-4 and --part $SLURM_ARRAY_TASK_ID/4"
        )
    return Part(number, of)


def parts_in(out: Path) -> list[Part]:
    """The parts that were begun in OUT, also by attempts (`attempts.py`), in order."""
    names = [path.name for path in (out / PARTS_NAME).glob("*-*-of-*") if path.is_dir()]
    form = re.compile(r"(?:part-(\d{5})-of-(\d{5})|attempt-(\d{5})-of-(\d{5})-.+)")
    found = [match for match in map(form.fullmatch, names) if match]
    parts = {Part(int(match[1] or match[3]), int(match[2] or match[4])) for match in found}
    return sorted(parts, key=lambda part: (part.of, part.number))


def name_parts(parts: Sequence[Part]) -> str:
    """Up to three of them by name, and how many more."""
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return ", ".join(map(str, parts[:3])) + more


def write_part(folder: Path, part: WholePart) -> None:
    """Say that a part is whole; its shards are there already."""
    write_whole(folder / PART_NAME, json.dumps(asdict(part), indent=1) + "\n")


def read_part(folder: Path) -> WholePart | None:
    """A whole part, None where it is not; raises DataError when it cannot be read."""
    path = folder / PART_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != PART_VERSION:
            raise ValueError(f"version {content['version']!r}")
        shards = tuple(ShardInfo(**shard) for shard in content.pop("shards"))
        part = WholePart(shards=shards, classes=tuple(content.pop("classes")), **content)
        # The shards of the set are called and cut by these.
        name, size = (part.recipe["options"][key] for key in ("name", "shard_size_bytes"))
        if not (re.fullmatch(SHARD_NAME, name) and isinstance(size, int) and size >= 1):
            raise ValueError(f"shards {name!r} of {size!r} bytes")
        if not all(isinstance(text, str) for text in (*part.classes, part.source)):
            raise ValueError("names that are no text")
        return part
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path} must be one that this version wrote, got {error!r}; delete {folder} and make "
            f"that part again"
        ) from None


def part_digest(folder: Path) -> str:
    """The sha256 of a part's description, which changes when anything of it is made anew."""
    try:
        return hashlib.sha256((folder / PART_NAME).read_bytes()).hexdigest()
    except OSError:
        return ""


def tell_difference(first: Mapping[str, object], other: Mapping[str, object]) -> str:
    """What two recipes differ in, in a few words; empty where they are the same."""
    for key, what in (("options", "options"), ("versions", "versions")):
        one, two = first.get(key), other.get(key)
        if one != two and isinstance(one, Mapping) and isinstance(two, Mapping):
            names = [k for k in {**one, **two} if one.get(k) != two.get(k)]
            values = ", ".join(f"{k} {one.get(k)} and {two.get(k)}" for k in names)
            return f"other {what}: {values}"
    return "" if first == other else "another source, or one that changed"
