"""The list of images that were converted by packing, and how: beside the index, a JSON line each.

An image that lost its transparency or its later pages looks like any other. So each is listed, and
the command tells once, at the end, of each kind.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shards.samples.oddities import CLIPPED, DEEP
from shards.store import read_lines, write_lines
from shards.terminal.counted import counted

CONVERTED_NAME = "converted.jsonl"
_MAX_16_BIT = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Conversion:
    """A loss of one image."""

    what: str  # of samples/oddities.py
    low: float | None = None  # least and greatest value, where values were scaled
    high: float | None = None
    white: float | None = None  # the value that became 255


@dataclass(frozen=True, slots=True)
class Converted:
    """An image that was stored, converted."""

    name: str  # where it came from
    conversion: Conversion


def write_conversions(folder: Path, converted: Sequence[Converted]) -> None:
    """Replace the folder's list; no list when there is nothing to say."""
    rows = [{"name": item.name, **asdict(item.conversion)} for item in converted]
    write_lines(folder / CONVERTED_NAME, rows)


def read_conversions(folder: Path) -> list[Converted]:
    """The folder's list, empty when there is none."""
    rows = read_lines(folder / CONVERTED_NAME)
    return [Converted(row.pop("name"), Conversion(**row)) for row in rows]


def tell_conversions(converted: Sequence[Converted]) -> Iterator[str]:
    """A sentence on each kind of conversion, the most frequent first."""
    by_kind: dict[str, list[Converted]] = defaultdict(list)
    for item in converted:
        by_kind[item.conversion.what].append(item)
    for what, items in sorted(by_kind.items(), key=lambda pair: -len(pair[1])):
        images = counted(len(items), "image")
        yield f"{images}: {what}{_told_range(what, items)} (the first is {items[0].name})"


def _told_range(what: str, items: Sequence[Converted]) -> str:
    if what not in (DEEP, CLIPPED):
        return ""
    found = [item.conversion for item in items]
    low, high = min(c.low or 0 for c in found), max(c.high or 0 for c in found)
    told = f"; their values go from {low:,g} to {high:,g}"
    # Of what has the range of 16 bits, and values of fewer.
    dark = [c.high for c in found if c.white == _MAX_16_BIT and c.high and c.high < c.white / 2]
    if what == CLIPPED or not dark:
        return told
    white = (1 << math.ceil(math.log2(max(dark) + 1))) - 1
    few = "all" if len(dark) == len(items) else f"{len(dark):,} of them"
    return (
        f"{told}; {few} have none above {max(dark):,g}, and come out dark where white is "
        f"{_MAX_16_BIT:,}: were they made with {white.bit_length()} bits, pack them with "
        f"--value-range 0:{white}"
    )
