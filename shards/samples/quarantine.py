"""The list of images that were refused, and why: beside the index, a JSON line each.

The packer and the scan write it; nothing is left out of an index without a line here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shards.format import QUARANTINE_NAME
from shards.store import read_lines, write_lines

_SHOWN_KINDS = 4
_NOT_BAD = ("a further ", "a symbolic link ", "a hard link ", "a symbolic link, ")


@dataclass(frozen=True, slots=True)
class Refused:
    """An image that is in no index."""

    name: str  # where it came from, e.g. `train-000000.tar:n01440764/0001.jpg`
    reason: str


def write_quarantine(folder: Path, refused: Sequence[Refused]) -> None:
    """Replace the folder's list; no list when there is nothing to say."""
    write_lines(folder / QUARANTINE_NAME, [asdict(item) for item in refused])


def read_quarantine(folder: Path) -> list[Refused]:
    """The folder's list, empty when there is none."""
    rows = read_lines(folder / QUARANTINE_NAME)
    return [Refused(str(row["name"]), str(row["reason"])) for row in rows if row]


def tell_refused(refused: Sequence[Refused], folder: object) -> str:
    """One sentence: how many were left out, why, where they are listed, which was the first."""
    kinds = Counter(item.reason.partition(" (")[0] for item in refused)
    shown = kinds.most_common(_SHOWN_KINDS)
    others = len(refused) - sum(count for _, count in shown)
    shown += [("other reasons", others)] if others else []
    told = "; ".join(f"{count:,}: {kind}" for kind, count in shown)
    more = f" ({told})" if len(kinds) > 1 else ""
    # A link, or a second image of a sample, is not bad.
    is_bad = not any(item.reason.startswith(_NOT_BAD) for item in refused)
    images = f"{len(refused):,} {'bad ' * is_bad}image{'s' * (len(refused) != 1)}"
    return (
        f"left out {images}{more}, listed in {folder}/{QUARANTINE_NAME}; the first is "
        f"{refused[0].name}: {refused[0].reason}"
    )
