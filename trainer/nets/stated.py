"""Things that a step states by name, so that a run may put others in their place.

    q = stated("queries", q)

A method says so where its loss takes the thing, and goes on with what it gets back: the thing, or
what a run has put there (trainer/terms). It does not know which. `Method.states` tells beforehand.
Ours state

    queries      [V, B, D], rows that look for their image's keys: not the keys, which stay
    predictions  [V, B, D], what a predictor says of the target's projections
    negatives    Negatives (losses/own_negatives.py), what a query has to be told from
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Thing = TypeVar("Thing")
Change = Callable[[str, Any], Any]  # a name and its thing -> what takes its place
_CHANGE: ContextVar[Change | None] = ContextVar("change", default=None)


def stated(name: str, thing: Thing) -> Thing:
    """The thing, or what takes its place in this run."""
    change = _CHANGE.get()
    return thing if change is None else change(name, thing)


@contextmanager
def changed_by(change: Change) -> Iterator[None]:
    """For the duration: whatever is stated passes through `change`."""
    token = _CHANGE.set(change)
    try:
        yield
    finally:
        _CHANGE.reset(token)
