"""The classes of a mixture: those of its sets, one class where they share a name.

Sets with the same list of classes, or all without one, keep their numbers. Else a class is its
name; and the labels of a set that names none are left out, since nobody can tell what they number.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from shards.errors import DataError
from shards.format import NO_LABEL
from shards.index import ShardIndex


class ClassUnion:
    """The names of a mixture's classes, and each set's labels as the mixture numbers them."""

    def __init__(self, parts: Sequence[ShardIndex]) -> None:
        """Match the classes.

        Raises:
            DataError: classes that are to be matched by their names and share one.
        """
        self._tables: list[np.ndarray] | None = None  # None: labels are as they are
        self.names = parts[0].classes
        if all(part.classes == self.names for part in parts):
            return
        for part in parts:
            _require_unique(part)
        self.names = tuple(dict.fromkeys(name for part in parts for name in part.classes))
        numbers = {name: number for number, name in enumerate(self.names)}
        self._tables = [
            np.array([*(numbers[name] for name in part.classes), NO_LABEL], np.int32)
            for part in parts
        ]

    @property
    def is_renumbered(self) -> bool:
        """Whether the sets have different classes."""
        return self._tables is not None

    def renumber(self, part: int, labels: np.ndarray) -> np.ndarray:
        """Labels [B] of a set as the mixture numbers them, NO_LABEL where it knows no class."""
        if self._tables is None:
            return labels
        table = self._tables[part]
        known = (labels >= 0) & (labels < len(table) - 1)
        return table[np.where(known, labels, -1)]


def _require_unique(part: ShardIndex) -> None:
    if not part.classes:
        return
    name, times = Counter(part.classes).most_common(1)[0]
    if times > 1:
        raise DataError(
            f"classes of several sets are matched by name, got {times} called {name} in "
            f"{part.directory}; give its classes names of their own, or all sets the same list"
        )
