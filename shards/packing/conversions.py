"""The list of images that were converted by packing, and how: beside the index, a JSON line each.

An image that lost its transparency or its later pages looks like any other. So each is listed, and
the command tells once, at the end, of each kind.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shards.atomic import write_whole
from shards.oddities import CLIPPED, DEEP

CONVERTED_NAME = "converted.jsonl"
# Of 16 bits: a set whose greatest value is lower than half of them was made with fewer.
_MAX_16_BIT = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Conversion:
    """What an image lost."""

    what: str  # of oddities.py
    low: float | None = None  # least and greatest value, where values were scaled
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """An image that was stored, converted."""

    name: str  # where it came from
    conversion: Conversion


def write_conversions(folder: Path, converted: Sequence[Converted]) -> None:
    """Replace the folder's list; no list when there is nothing to say."""
    path = folder / CONVERTED_NAME
    if not converted:
        path.unlink(missing_ok=True)
        return
    lines = (json.dumps({"name": item.name, **asdict(item.conversion)}) for item in converted)
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())


def read_conversions(folder: Path) -> list[Converted]:
    """The folder's list, empty when there is none."""
    try:
        lines = (folder / CONVERTED_NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = (json.loads(line) for line in lines)
    return [
        Converted(row["name"], Conversion(row["what"], row["low"], row["high"])) for row in rows
    ]


def tell_conversions(converted: Sequence[Converted]) -> Iterator[str]:
    """A sentence on each kind of change, the most frequent first."""
    by_kind: dict[str, list[Converted]] = defaultdict(list)
    for item in converted:
        by_kind[item.conversion.what].append(item)
    for what, items in sorted(by_kind.items(), key=lambda pair: -len(pair[1])):
        images = f"{len(items):,} image{'s' * (len(items) != 1)}"
        yield f"{images}: {what}{_told_range(what, items)} (the first is {items[0].name})"


def _told_range(what: str, items: Sequence[Converted]) -> str:
    if what not in (DEEP, CLIPPED):
        return ""
    low = min(item.conversion.low or 0 for item in items)
    high = max(item.conversion.high or 0 for item in items)
    told = f"; their values go from {low:,g} to {high:,g}"
    if what == DEEP and 0 <= low < high <= _MAX_16_BIT // 2 and high == round(high):
        bits = math.ceil(math.log2(high + 1))
        told += (
            f", as of {bits} bits, where 16 have 65,535: unless that was told, they are darker "
            f"than they were; --value-range 0:{(1 << bits) - 1} makes {(1 << bits) - 1:,} white"
        )
    return told
