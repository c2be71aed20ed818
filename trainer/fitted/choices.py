"""The fitted recipe while it is chosen: typed keys stay, each other has a value and its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.settings.strict import merge


@dataclass(frozen=True, slots=True)
class Fitted:
    """Keys with their values, and for each a few words."""

    values: Mapping[str, Any]  # nested, as a recipe has them
    reasons: tuple[tuple[str, Any, str], ...]  # (key, value, why), in the order they were chosen


class Choices:
    """Values by dotted key: the typed one where there is one, else the rule's."""

    def __init__(self, typed: Mapping[str, Any]) -> None:
        self.typed = typed
        self._chosen: list[tuple[str, Any, str]] = []

    def take(self, key: str, value: Any, why: str) -> Any:
        """The typed value of a key, or this one, which is kept with its reason."""
        if key in self.typed:
            return self.typed[key]
        self._chosen.append((key, value, why))
        return value

    def fitted(self) -> Fitted:
        """The choices so far."""
        values: dict[str, Any] = {}
        for key, value, _ in self._chosen:
            section, _, name = key.partition(".")
            values = merge(values, {section: {name: value}})
        return Fitted(values, tuple(self._chosen))


def rounded(number: float) -> float:
    """Rounded, so that it can be typed; never to 0."""
    return float(f"{number:.3g}")
