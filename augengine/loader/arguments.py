"""Arguments of a loader, checked before a thread starts: a mistake is one line, no crash later.

A loader takes objects. `open_views` takes names (a folder, `"swav"`), and messages here say so.
"""

import numbers
import operator
from dataclasses import dataclass

from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.terminal.counted import counted


@dataclass(frozen=True, slots=True)
class _Kind:
    """The meaning of an argument, attributes that it must have, and a way to make one."""

    what: str
    attributes: tuple[str, ...]
    remedy: str


_KINDS = {
    "index": _Kind("an open index", ("rows", "sizes"), "ShardIndex.open(FOLDER)"),
    "policy": _Kind("a Policy", ("flat_views", "groups"), 'load_policy("swav")'),
    "cursor": _Kind("a Cursor", ("position", "advance"), "Cursor(POSITION)"),
    "order": _Kind("a SampleOrder", ("substitute",), "index.order(SEED)"),
    "cache": _Kind("a Cache", ("get", "put"), 'create_cache("host", index, "cpu")'),
}


def check_kinds(**given: object) -> None:
    """UsageError for an argument of `_KINDS` that is something else."""
    for name, value in given.items():
        kind = _KINDS[name]
        if isinstance(value, type) or not all(hasattr(value, each) for each in kind.attributes):
            takes = name in ("index", "policy") and isinstance(value, str)
            also = "; augengine.open_views takes its name" if takes else ""
            raise UsageError(f"{name} is {kind.what}, got {value!r}; write {kind.remedy}{also}")


def whole(name: str, number: object) -> int:
    """A count, a seed or a rank as an int, numpy's too; UsageError for anything else."""
    try:
        if not isinstance(number, bool):
            return operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise UsageError(f"{name} is a whole number, got {number!r}; write {name}=1")


def check_number(name: str, number: object, example: float) -> None:
    """UsageError for a time, a size or a share that is no number, or under zero."""
    is_number = isinstance(number, numbers.Real) and not isinstance(number, bool)
    if not (is_number and number >= 0):  # type: ignore[operator]
        raise UsageError(f"{name} is a number from 0 on, got {number!r}; write {name}={example:g}")


def check_counts(index: ShardIndex, batch_size: int, rank: int, world: int) -> None:
    """Refuse a set without samples, and a batch that the ranks cannot share."""
    if not len(index):
        raise DataError(f"a data set has at least one sample, got none in {index.directory}")
    if not 0 <= rank < world:
        raise UsageError(f"the rank lies in [0, world), got {rank} of {world}")
    if batch_size < 1 or batch_size % world:
        raise UsageError(
            f"the global batch size is a positive multiple of the {counted(world, 'rank')}, got "
            f"{batch_size}; try {max(1, batch_size // world) * world}"
        )
