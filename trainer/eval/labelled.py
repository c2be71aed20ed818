"""The labelled sets of an evaluation: which images it takes, and which classes two sets share.

An image without a label neither votes nor is fitted nor scored. Classes are matched by name where
the sets share names, else by number, and from then on have the training set's numbers. A held-out
image of a class that no training image has is not scored: it would be wrong whatever the encoder
is. All that is left out is counted here, and said beside every score.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shards.errors import DataError
from shards.format import NO_LABEL
from shards.index import ShardIndex
from shards.terminal.counted import agreed, counted
from trainer.eval.class_match import class_name, match_classes
from trainer.eval.overlap import repeated_images, shared_images

_CHUNK = 1 << 22  # records of an index that are looked at together
_SAMPLE_SEED = 0  # of the images that stand for a set too large to use whole
_SHOWN_CLASSES = 5


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The images of one set that take part, and how many do not."""

    data: str  # "train", "eval.train" or "eval": which set of the config's it is
    index: ShardIndex
    ids: np.ndarray  # [N] int64, ascending
    own_numbers: np.ndarray  # [K] int64, ascending - classes of these images, as the index has them
    numbers: np.ndarray  # [K] int64 - the same classes as the training set numbers them
    num_unlabelled: int
    foreign: Mapping[str, int]  # held-out images of classes that training lacks, by the class

    def renumber(self, labels: np.ndarray) -> np.ndarray:
        """Class numbers [B] of images that take part, as the training set has them; int32."""
        return self.numbers[np.searchsorted(self.own_numbers, labels)].astype(np.int32)


@dataclass(frozen=True, slots=True)
class LabelledSets:
    """Training images, whose labels are known, and held-out ones, whose labels are asked for."""

    train: LabelledSet
    test: LabelledSet
    rule: str  # by which classes are matched
    num_shared: int  # held-out images that are in the training set, labelled or not
    num_repeated: int | None  # training images that are copies of others; None: not counted
    num_seen: int = 0  # held-out images among those that an encoder is trained on without labels

    @property
    def num_classes(self) -> int:
        """Classes with training images."""
        return len(self.train.numbers)

    def largest_class(self) -> float:
        """The share of the most frequent held-out class: what one guess for all would score."""
        labels = self.test.index.labels(self.test.ids)
        return float(np.unique(labels, return_counts=True)[1].max() / len(labels))

    def describe(self, num_bad_train: int = 0, num_bad_test: int = 0) -> str:
        """Sentences about matched and left-out classes, given how many images cannot be read."""
        train, test = self.train, self.test
        left_out = [
            *_of_both(train.num_unlabelled, test.num_unlabelled, "without a label"),
            *_of_both(num_bad_train, num_bad_test, "that cannot be read"),
        ]
        if test.foreign:
            number, names = sum(test.foreign.values()), _listed(list(test.foreign))
            left_out.append(
                f"{counted(number, 'held-out image')} of classes that training lacks ({names})"
            )
        parts = [f"classes {self.rule}"]
        parts += [f"left out: {', '.join(left_out)}"] if left_out else []
        parts += [self.overlap] if self.num_shared else []
        parts += [self.overlap_with_seen] if self.num_seen else []
        return "; ".join(parts)

    @property
    def overlap(self) -> str:
        """A sentence about held-out images that are in the training set."""
        return (
            f"{self.num_shared:,} of {counted(len(self.test.ids), 'evaluation image')} "
            f"{agreed(self.num_shared, 'is', 'are')} in the training set"
        )

    @property
    def overlap_with_seen(self) -> str:
        """The same of images that an encoder is trained on, where others are labelled."""
        return (
            f"{self.num_seen:,} of {counted(len(self.test.ids), 'evaluation image')} "
            f"{agreed(self.num_seen, 'is', 'are')} among those that the encoder is trained on"
        )


def label_sets(
    train: ShardIndex,
    test: ShardIndex,
    max_train_images: int = 0,
    max_test_images: int = 0,
    *,
    seen: ShardIndex | None = None,  # what an encoder is trained on, when that is not `train`
    name: str = "train",  # of the first set in the config
) -> LabelledSets:
    """The images that take part: all that can, or a fixed random part of so many (0: all).

    Raises:
        DataError: a set without labels, no class in common, or names or numbers of classes that
            cannot be matched.
    """
    train_counts, test_counts = _count_classes(train), _count_classes(test)
    for index, counts in ((train, train_counts), (test, test_counts)):
        if set(counts) <= {NO_LABEL}:
            raise DataError(
                f"kNN and a linear probe need labels, got none in {index.directory}; pack a folder "
                "with one subfolder a class, or give other labelled shards with --eval-train and "
                "--eval-data, or neither"
            )
    known = {number: number for number in train_counts if number != NO_LABEL}
    rule, numbers = match_classes(
        train, test, list(known), [n for n in test_counts if n != NO_LABEL]
    )
    common = {own: number for own, number in numbers.items() if number in known}
    if not common:
        ours, theirs = (
            _listed([class_name(index, number) for number in present])
            for index, present in ((train, known), (test, numbers))
        )
        raise DataError(
            f"an evaluation needs a class that both sets have ({rule}), got {ours} in "
            f"{train.directory} and {theirs} in {test.directory}; pack both from folders of the "
            "same names"
        )
    held_out = _take("eval", test, test_counts, common, max_test_images)
    return LabelledSets(
        _take(name, train, train_counts, known, max_train_images),
        held_out,
        rule,
        shared_images(train, test, held_out.ids),
        repeated_images(train),
        shared_images(seen, test, held_out.ids) if seen else 0,
    )


def sample_positions(num_images: int, max_images: int) -> np.ndarray:
    """All of [0, num_images), or a fixed random part, ascending; 0 means all.

    Not every n-th: sets that go through their classes in turn would lose some of them.
    """
    if max_images == 0 or max_images >= num_images:
        return np.arange(num_images)
    chosen = np.random.default_rng(_SAMPLE_SEED).choice(num_images, max_images, replace=False)
    return np.sort(chosen)


def _count_classes(index: ShardIndex) -> dict[int, int]:
    """Images by class number, ascending; those without a label under NO_LABEL."""
    counts: Counter[int] = Counter()
    for _, labels in _labels(index):
        # Many times faster than to sort them, unless they are ids of something.
        if labels.max() < len(labels):
            images = np.bincount(labels - NO_LABEL)
            numbers = np.flatnonzero(images)
            images, numbers = images[numbers], numbers + NO_LABEL
        else:
            numbers, images = np.unique(labels, return_counts=True)
        counts.update(dict(zip(numbers.tolist(), images.tolist(), strict=True)))
    return dict(sorted(counts.items()))


def _take(
    data: str,
    index: ShardIndex,
    counts: Mapping[int, int],
    common: Mapping[int, int],  # own number -> training's, of the classes that take part
    max_images: int,
) -> LabelledSet:
    own = np.array(list(common), dtype=np.int64)
    num_usable = sum(counts[number] for number in common)
    wanted = sample_positions(num_usable, max_images)  # among the images that can take part
    foreign = set(counts) - set(common) - {NO_LABEL}
    return LabelledSet(
        data=data,
        index=index,
        ids=wanted if num_usable == len(index) else _find(index, own, wanted),
        own_numbers=own,
        numbers=np.array(list(common.values()), dtype=np.int64),
        num_unlabelled=counts.get(NO_LABEL, 0),
        foreign={class_name(index, number): counts[number] for number in sorted(foreign)},
    )


def _find(index: ShardIndex, classes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Ids [M] of the wanted ones, ascending positions [M], among the images of some classes."""
    found, position = [], 0
    for first, labels in _labels(index):
        rows = np.flatnonzero(np.isin(labels, classes))
        low, high = np.searchsorted(wanted, (position, position + len(rows)))
        found.append(first + rows[wanted[low:high] - position])
        position += len(rows)
    return np.concatenate(found)


def _labels(index: ShardIndex) -> Iterator[tuple[int, np.ndarray]]:
    """First id and class numbers of one part of the set after the other."""
    for first in range(0, len(index), _CHUNK):
        yield first, np.maximum(index.chunk(first, first + _CHUNK)["label"], NO_LABEL)


def _of_both(num_train: int, num_test: int, what: str) -> list[str]:
    counts = {"training": num_train, "held-out": num_test}
    sets = [f"{number:,} {images}" for images, number in counts.items() if number]
    return [f"{' and '.join(sets)} images {what}"] if sets else []


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_CLASSES
    return ", ".join(names[:_SHOWN_CLASSES]) + (f" and {more} more" if more > 0 else "")
