"""The match of two sets' classes: by name where the sets share names, else by number."""

from collections import Counter

from shards.errors import DataError
from shards.format import NO_LABEL
from shards.index import ShardIndex
from shards.terminal.counted import counted


def class_name(index: ShardIndex, number: int) -> str:
    """The name of a class, or its number where it has none."""
    return index.classes[number] if number < len(index.classes) else str(number)


def match_classes(
    train: ShardIndex, test: ShardIndex, train_numbers: list[int], test_numbers: list[int]
) -> tuple[str, dict[int, int]]:
    """The rule, and the training set's number of every held-out class (NO_LABEL: it has none)."""
    has_names = (_has_names(train), _has_names(test))
    rule = "by name" if any(has_names) else "by number"
    if train.classes == test.classes:
        return rule, {number: number for number in test_numbers}
    if not all(has_names) and not set(train.classes) & set(test.classes):
        if any(has_names):
            named, others = (train, test_numbers) if has_names[0] else (test, train_numbers)
            _require_below(named, max(others))
        return "by number", {number: number for number in test_numbers}
    _require_unique_names(train)
    _require_unique_names(test)
    numbers = {name: number for number, name in enumerate(train.classes)}
    return rule, {n: numbers.get(class_name(test, n), NO_LABEL) for n in test_numbers}


def _has_names(index: ShardIndex) -> bool:
    """Whether its classes are called otherwise than by their numbers."""
    return any(name != str(number) for number, name in enumerate(index.classes))


def _require_below(named: ShardIndex, number: int) -> None:
    if number >= len(named.classes):
        raise DataError(
            f"where only one set names its classes they are matched by number, got number {number} "
            f"for the {counted(len(named.classes), 'class')} of {named.directory}; pack both sets "
            "from folders of the same names"
        )


def _require_unique_names(index: ShardIndex) -> None:
    name, times = Counter(index.classes).most_common(1)[0]
    if times > 1:
        raise DataError(
            f"classes that are matched by name have names of their own, got {times} called {name} "
            f"in {index.directory}; give the same list of classes to both sets, or unique names"
        )
