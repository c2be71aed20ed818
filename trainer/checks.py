"""The two checks every setting needs: a rule that must hold, and a name out of a list.

Settings dataclasses call them in `__post_init__`, so a wrong recipe stops before anything is built.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from shards.errors import UsageError

_MAX_SHOWN = 40  # names in one line of an error


def require(holds: bool, rule: str, value: object, remedy: str) -> None:
    """Raise UsageError with rule, value and remedy unless `holds`."""
    if not holds:
        raise UsageError(f"{rule}, got {value!r}; {remedy}")


def choose(
    kind: str,
    name: str,
    options: Iterable[str],
    meanings: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """`name` when it is one of `options`, else UsageError with the nearest one and the list.

    `meanings` has names that say one of them in other words, not in other letters.
    """
    known = list(options)
    if name in known:
        return name
    near = [meanings[name]] if name in meanings else get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    shown = known if len(known) <= _MAX_SHOWN else [*get_close_matches(name, known, 5, 0), "..."]
    raise UsageError(f"unknown {kind} {name!r}; {hint}known: {', '.join(shown)}")
