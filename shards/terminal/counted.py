"""A number and what it counts, as a person writes it: `1 image`, `2,000 images`, `0.5 epochs`."""

from numbers import Integral


def counted(number: float, noun: str) -> str:
    """The number with thousands apart, a fraction to six digits, and the noun as it asks."""
    text = f"{number:,}" if isinstance(number, Integral) else f"{number:g}"
    return f"{text} {noun if text == '1' else _plural(noun)}"


def agreed(number: float, one: str, many: str) -> str:
    """The verb that goes with a number of things: `is` or `are`, `has` or `have`."""
    return one if number == 1 else many


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "tch")):
        return f"{noun}es"
    is_copy = noun.endswith("y") and noun[-2:-1] not in "aeiou"
    return f"{noun[:-1]}ies" if is_copy else f"{noun}s"
