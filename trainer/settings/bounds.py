"""Bounds of settings in their types: `out_dim: Count = 256` is at least 1.

A settings dataclass inherits `Bounded`, so that a wrong recipe stops before anything is built. One
with rules of several settings at once has a `__post_init__` of its own, which calls `check_bounds`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import inf
from typing import Annotated, Any, get_args, get_type_hints

from trainer.checks import require


@dataclass(frozen=True, slots=True)
class Bound:
    """The bounds of a number, in words and in numbers."""

    rule: str
    least: float = -inf
    most: float = inf
    excluded: float | None = None  # a border that does not belong to it

    def holds(self, value: float) -> bool:
        """Whether the value lies within."""
        return self.least <= value <= self.most and value != self.excluded


def at_most(most: int) -> Bound:
    """Bound a number from above."""
    return Bound(f"is at most {most}", most=most)


Count = Annotated[int, Bound("is at least 1", least=1)]
Natural = Annotated[int, Bound("is not negative", least=0)]
NotNegative = Annotated[float, Bound("is not negative", least=0)]
Positive = Annotated[float, Bound("is positive", least=0, excluded=0)]
Share = Annotated[float, Bound("lies in [0, 1]", least=0, most=1)]
ShareBelow1 = Annotated[float, Bound("lies in [0, 1)", least=0, most=1, excluded=1)]
ShareAbove0 = Annotated[float, Bound("lies in (0, 1]", least=0, most=1, excluded=0)]


class Bounded:
    """The base of settings that only their types bound; a message begins with their file's name."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_bounds(type(self).__module__.rpartition(".")[2], self)


def check_bounds(name: str, settings: Any) -> None:
    """Raise UsageError for the first setting out of its bounds; null passes where a type has it."""
    hints = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value, default = getattr(settings, field.name), field.default
        remedy = f"try {'null' if default is None else default}"
        for bound in _bounds_of(hints[field.name]):
            rule = f"{name} {field.name} {bound.rule}"
            require(value is None or bound.holds(value), rule, value, remedy)


def _bounds_of(hint: Any) -> Iterator[Bound]:
    """Those of the type itself, and of each member of a union."""
    yield from (x for x in getattr(hint, "__metadata__", ()) if isinstance(x, Bound))
    if not hasattr(hint, "__metadata__"):
        for member in get_args(hint):
            yield from _bounds_of(member)
