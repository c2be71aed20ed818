r"""The sets of a run as words: folders and addresses, each with a weight behind a colon.

    A   B:0.3   s3://bucket/c:2   'sets/*'   'sets/{a,b}:0.5'   'sets/part-{00..11}'

A number behind the last colon is a weight, but where a folder of the whole name is there; of an
address the colon comes after its host and port. What else a name may hold stays as it is: a
colon, `demo:test`, `C:\sets`. Patterns stand for the folders that are there when a run starts: its
config has them one by one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from itertools import product
from pathlib import Path

from shards.errors import UsageError
from shards.mixture.mixed_index import check_weight

_MOST_SETS = 1000
_PORT = re.compile(r":\d+$")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True, slots=True)
class WeightedSet:
    """A set of a run: where it is, and the share of it in an epoch."""

    place: str  # a folder, an address, or demo
    weight: float = 1.0

    def __str__(self) -> str:
        # A name that ends like a weight needs one, or its end would be taken for it.
        if self.weight == 1 and split_weight(self.place)[1] is None:
            return self.place
        return f"{self.place}:{self.weight!r}".removesuffix(".0")


def split_weight(text: str) -> tuple[str, float | None]:
    """The place and the weight of a name, by its letters alone; None: it has none."""
    place, _, number = text.rpartition(":")
    host = place.partition("://")[2] if "://" in text else "/"
    if not place or not ("/" in host or _PORT.search(host)):  # of an address, its port
        return text, None
    try:
        return place, float(number)
    except ValueError:
        return text, None


def expand(given: str | Sequence[str]) -> tuple[WeightedSet, ...]:
    """The sets that names and patterns stand for, in their order.

    Raises:
        UsageError: a weight that is none, a pattern without a folder, a name that may mean two
            things, one set alone with a weight.
    """
    texts = (given,) if isinstance(given, str) else tuple(given)
    sets = tuple(found for text in texts for found in _expanded(text))
    if not sets:
        raise UsageError("data.train names a set or more, got an empty list; give --data DIR")
    if len(sets) == 1 and sets[0].weight != 1:
        raise UsageError(
            f"a weight is a set's share beside others, got {sets[0]} alone; leave the weight out, "
            "and say with --epochs how long a run is"
        )
    if len(sets) > _MOST_SETS:
        raise UsageError(f"a run has at most {_MOST_SETS:,} sets, got {len(sets):,}; pack them")
    return sets


def in_words(given: str | Sequence[str] | None) -> str:
    """The names of sets as a sentence has them."""
    return given if isinstance(given, str) else ", ".join(given or ())


def written(
    sets: Sequence[WeightedSet], absolute: Callable[[str], str] = lambda place: place
) -> str | tuple[str, ...]:
    """The names of sets as a config keeps them; `expand` reads them back."""
    texts = tuple(str(WeightedSet(absolute(found.place), found.weight)) for found in sets)
    return texts[0] if len(texts) == 1 else texts


def _expanded(text: str) -> Iterator[WeightedSet]:
    place, weight = split_weight(text)
    if _is_folder(text):
        if weight is not None and _is_folder(place):
            raise UsageError(
                f"a weight is told from a name, got {text}, which is a folder and may be "
                f"{place} with weight {weight:g}; write {text}:1 for the one, {place}/:{weight:g} "
                "for the other"
            )
        yield WeightedSet(text)
        return
    if weight is None:
        _refuse_odd_weight(text)
    else:
        check_weight(weight, place)
    for found in _places(place):
        yield WeightedSet(found, 1.0 if weight is None else weight)


def _refuse_odd_weight(text: str) -> None:
    place, colon, number = text.rpartition(":")
    if colon and number[:1] not in ("/", "\\") and _is_folder(place):
        raise UsageError(
            f"the weight of a set is a number behind a colon, got {number!r} in {text}; write "
            f"{place}:0.3 for 30 % of its images in every epoch"
        )


def _places(place: str) -> Iterator[str]:
    """The folders that a pattern stands for; anything else as it is."""
    if _is_folder(place):
        yield place
        return
    for text in _without_braces(place):
        if re.search(r"\{.*,.*\}", text):
            raise UsageError(
                f"braces do not stand in braces, got {place}; name the sets one by one"
            )
        if not re.search(r"[*?\[]", text) or _is_folder(text):
            yield text
        elif "://" in text:
            raise UsageError(
                f"an address is not searched, got {text}; name its folders with braces, as in "
                "s3://bucket/{a,b}"
            )
        else:
            folders = sorted(filter(_is_folder, glob(str(Path(text).expanduser()))))
            if not folders:
                raise UsageError(
                    f"a pattern stands for folders of shards, got {text}, which no folder is "
                    "like; look with ls"
                )
            yield from folders


def _without_braces(text: str) -> Iterator[str]:
    """a{b,c} as ab, ac; a{00..11} as a00, ..., a11; several braces in all ways."""
    pieces = re.split(r"\{([^{}]*)\}", text)
    choices = [[piece] if i % 2 == 0 else _choices(piece) for i, piece in enumerate(pieces)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_SETS:
        raise UsageError(f"a run has at most {_MOST_SETS:,} sets, got {count:,} from {text}")
    yield from map("".join, product(*choices))


def _choices(inner: str) -> list[str]:
    match = _RANGE.fullmatch(inner)
    if match is None:
        return inner.split(",") if "," in inner else [f"{{{inner}}}"]
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < _MOST_SETS:
        raise UsageError(
            f"a range in braces goes up, by at most {_MOST_SETS:,}, got {{{inner}}}; try {{00..11}}"
        )
    return [str(number).zfill(len(match[1])) for number in range(first, last + 1)]


def _is_folder(place: str) -> bool:
    return "://" not in place and Path(place).expanduser().is_dir()
