"""Classes: a number from 0 or a name, from a text, a `.json` or a column of a table.

Whatever else stands there (a fraction, several classes, boxes) is no class; the reason is counted,
so that nobody trains on fewer labels than he has without being told.
"""

import json
import numbers
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from shards.format import NO_LABEL
from shards.samples.image_header import ImageError
from shards.tars.members import TarMember
from shards.terminal.counted import agreed, counted

Label = int | str
_MAX_LABEL = (1 << 31) - 1
MAX_TEXT_BYTES = 1 << 20  # of a label's member: captions have room, bombs have not
_NUMBER = re.compile(r"[+-]?\d+")
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)")
_SHOWN_KEYS = 4
# Larger class numbers are ids of something: they are kept, and no names are made up for them.
_MAX_NUMBERED_CLASSES = 1_000_000
NO_MEMBER = "no .cls or .json"  # the reason of images that were not meant to have a class


@dataclass(frozen=True, slots=True)
class NoLabel:
    """Why there is no class, in words that are the same for all of a kind."""

    why: str


def label_of(value: object) -> Label | NoLabel:
    """A class from a value of any type.

    A number that is whole counts, whatever its type; a list counts when it holds one class.

    Raises:
        ImageError: a class number that the index cannot hold.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value.strip() or NoLabel("an empty text")
    if value is None:
        return NoLabel("nothing there")
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        return NoLabel(f"no number or name but a {type(value).__name__}")
    if isinstance(value, Decimal):
        return _checked(value)
    return _checked(int(value) if isinstance(value, numbers.Integral) else float(value))


def label_from_text(text: bytes) -> Label | NoLabel:
    """A class from the text of a `.cls`; raises ImageError, or ValueError when it is no text."""
    word = text.decode("utf-8-sig").strip()
    if _NUMBER.fullmatch(word):
        return _checked(int(word))
    if _FRACTION.fullmatch(word):
        return _checked(float(word))
    return label_of(word)


def label_from_json(text: bytes) -> Label | NoLabel:
    """A class from what is called `label` in a `.json`; raises as `label_from_text`."""
    content = json.loads(text)
    if not isinstance(content, dict):
        return NoLabel("a .json that holds no names")
    if "label" not in content:
        keys = ", ".join(sorted(content)[:_SHOWN_KEYS]) or "nothing"
        return NoLabel(f"a .json without a label (of {keys})")
    return label_of(content["label"])


def read_label(read: Callable[[TarMember], bytes], members: Iterable[TarMember]) -> Label | NoLabel:
    """The class of a sample, from the first of its members that has one.

    Args:
        read: gives the bytes of a member.
        members: what may hold it, the likeliest first, as `samples.Sample.labels`.

    Raises:
        ImageError: it is there and cannot be read.
    """
    first = None
    for member in members:
        kind = member.extension.rpartition(".")[2]
        if member.problem:
            found = NoLabel(f"a .{kind} that is a link to nothing here")
        elif member.size > MAX_TEXT_BYTES:
            raise ImageError(f"its .{kind} has over {MAX_TEXT_BYTES:,} bytes")
        else:
            parse = label_from_text if kind == "cls" else label_from_json
            try:
                found = parse(read(member))
            except ImageError:
                raise
            except (ValueError, RecursionError) as error:
                raise ImageError(f"its label cannot be read ({error})") from None
        if not isinstance(found, NoLabel):
            return found
        first = first or found
    return first or NoLabel(NO_MEMBER)


def number_classes(
    labels: Sequence[int | str | None], known: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn labels into class numbers and names.

    Numbers stay as they are; with a name among them all labels count as names, numbered in sorted
    order.

    Args:
        labels: [N] a class number, a class name, or nothing.
        known: names of the class numbers from elsewhere, used where they are enough.

    Returns:
        [N] int32 class numbers, NO_LABEL for nothing, and the name of each class.
    """
    if any(isinstance(label, str) for label in labels):
        classes = tuple(sorted({str(label) for label in labels if label is not None}))
        number = {name: i for i, name in enumerate(classes)}
        numbers = [NO_LABEL if label is None else number[str(label)] for label in labels]
        return np.array(numbers, dtype=np.int32), classes
    numbers = np.array([NO_LABEL if label is None else label for label in labels], dtype=np.int32)
    num_classes = int(numbers.max(initial=NO_LABEL)) + 1
    if num_classes <= len(known):
        return numbers, tuple(known)
    if num_classes > _MAX_NUMBERED_CLASSES:
        return numbers, ()
    return numbers, tuple(str(i) for i in range(num_classes))


def tell_alike(classes: Sequence[str]) -> str | None:
    """A sentence on class names that a reader takes for one; None where there are none."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(plain, []).append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    if not alike:
        return None
    first = " and ".join(map(repr, alike[0][:2]))
    return (
        f"{sum(map(len, alike)):,} class names differ from another one only in case, blanks or the "
        f"way accents are written, {first} first; give them one name where they are one class"
    )


def tell_unlabelled(reasons: Counter[str], num_images: int) -> str | None:
    """A sentence on the images without a class; None when all have one, or none was meant to."""
    missing = reasons.total()
    if not missing or (set(reasons) == {NO_MEMBER} and missing == num_images):
        return None
    # Of a kind, the most frequent one is told in full.
    kinds: dict[str, list[tuple[str, int]]] = {}
    for why, count in reasons.most_common():
        kinds.setdefault(why.partition(" (")[0], []).append((why, count))
    told = "; ".join(f"{sum(n for _, n in kind):,}: {kind[0][0]}" for kind in kinds.values())
    return (
        f"{missing:,} of {counted(num_images, 'image')} {agreed(missing, 'has', 'have')} no "
        f"label ({told})"
    )


def _checked(number: Any) -> int | NoLabel:
    if isinstance(number, float | Decimal) and (number != number or number % 1):
        return NoLabel("a fraction")
    if number < 0:
        return NoLabel("a number below 0")
    if number > _MAX_LABEL:
        raise ImageError(f"its label must be at most {_MAX_LABEL:,}, got {number}")
    return int(number)
