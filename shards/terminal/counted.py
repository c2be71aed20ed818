"""A number and what it counts, as a person writes it: `1 image`, `2,000 images`, `0.5 epochs`."""

from numbers import Integral


def counted(number: float, noun: str) -> str:
    """The number with thousands apart, a fraction to six digits, and the noun as it asks."""
    text = f"{number:,}" if isinstance(number, Integral) else f"{number:g}"
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{text} {noun if text == '1' else plural}"


def agreed(number: float, one: str, many: str) -> str:
    """The verb that goes with a number of things: `is` or `are`, `has` or `have`."""
    return one if number == 1 else many
