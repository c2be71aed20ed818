"""Several sets are one: the samples, bytes, classes and views are those of each set alone."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from afar import Serve, open_at
from small_loader import overwrite, take, views_by_sample

from shards.errors import DataError, UsageError
from shards.format import INDEX_DTYPE, NO_LABEL
from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex, epoch_share
from shards.reader import SampleError, ShardReader
from shards.remotecache.cache_window import note_on_window


def with_classes(index: ShardIndex, *names: str) -> ShardIndex:
    """The same set with other names for its classes, in memory."""
    manifest = dataclasses.replace(index.manifest, classes=names)
    return ShardIndex(index.folder, index.records, manifest)


@pytest.fixture
def parts(new_shards: Callable[..., Path], tmp_path: Path) -> tuple[ShardIndex, ...]:
    """37, 50 and 8 images; shards of all three are called alike."""
    sizes = {"a": (37, 3), "b": (50, 4), "c": (8, 1)}
    folders = [new_shards(*size).rename(tmp_path / name) for name, size in sizes.items()]
    return tuple(map(ShardIndex.open, folders))


def test_a_sample_is_that_of_its_set(parts: tuple[ShardIndex, ...]) -> None:
    """Sizes, labels, keys, names and bytes, in any order and across sets; ids count on."""
    mixed = MixedIndex(parts, [1, 0.3, 2])
    assert (len(mixed), mixed.epoch_samples, mixed.quotas) == (95, 68, (37, 15, 16))
    ids = np.random.default_rng(0).permutation(95)
    first = (0, 37, 87)
    own = [(np.searchsorted(first, id, side="right") - 1, id) for id in ids.tolist()]
    own = [(int(part), id - first[part]) for part, id in own]
    assert mixed.names(ids) == [parts[p].names([i])[0] for p, i in own]
    assert mixed.key(94) == parts[2].key(7)
    assert (mixed.sizes(ids) == [parts[p].sizes(np.array([i]))[0] for p, i in own]).all()
    assert mixed.labels(ids).tolist() == [parts[p].entry(i).label for p, i in own]
    with ShardReader(mixed, verify=True) as reader:
        read = [ShardReader(part) for part in parts]
        assert reader.read(ids) == [read[p].read(np.array([i]))[0] for p, i in own]
    assert (mixed.chunk(30, 90) == mixed.rows(np.arange(30, 90))).all()
    assert mixed.chunk(95, 200).dtype == INDEX_DTYPE
    assert (mixed.column("size") == mixed.rows(np.arange(95))["size"]).all()
    for wrong in ([95], [-1]):
        with pytest.raises(IndexError, match=r"\[0, 95\)"):
            mixed.rows(np.array(wrong))


def test_it_is_known_by_its_sets_and_their_order(parts: tuple[ShardIndex, ...]) -> None:
    """Not by the weights, which may change; and it survives the way to another process."""
    a, b, c = parts
    mixed = MixedIndex([a, b], [1, 0.3])
    assert mixed.fingerprint == MixedIndex([a, b], [2, 5]).fingerprint
    others = ([b, a], [a, c], [a, b, c])
    assert len({MixedIndex(o, [1] * len(o)).fingerprint for o in others} - {mixed.fingerprint}) == 3
    again = pickle.loads(pickle.dumps(MixedIndex([a, b], [1, 0.3], [(40, (2, 2))])))
    assert (again.fingerprint, again.former) == (mixed.fingerprint, ((40, (2, 2)),))
    positions = np.arange(500)
    changed = MixedIndex([a, b], [1, 0.3], [(40, (2, 2))]).order(3)(positions)
    assert (again.order(3)(positions)[1] == changed[1]).all()
    assert (changed[1] != mixed.order(3)(positions)[1]).any()


def test_sets_of_one_size_are_not_in_one_order(parts: tuple[ShardIndex, ...]) -> None:
    """Each has a seed of its own, also the first."""
    a, _, _ = parts
    labelled = with_classes(a, "x", "y", "z")
    ids = MixedIndex([a, labelled], [1, 1]).order(3)(np.arange(74))[1]
    first, second = ids[::2], ids[1::2] - 37
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(37))
    assert (first == second).sum() < 8
    assert first.tolist() != a.order(3)(np.arange(37))[1].tolist()


def test_a_share_is_of_the_number_as_it_is_written() -> None:
    """Half up, and 0.1 is a tenth: no rounding of binary fractions has a say."""
    assert [epoch_share(n, 0.1, "x") for n in (5, 14, 15, 25, 10**9)] == [1, 1, 2, 3, 10**8]
    assert epoch_share(3, 0.35, "x") == 1
    assert epoch_share(10, 0.15, "x") == 2
    with pytest.raises(UsageError, match=r"gives a sample .* of the 4 in x; give at least 0.25,"):
        epoch_share(4, 0.1, "x")


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1001])
def test_what_is_no_weight_is_refused(parts: tuple[ShardIndex, ...], weight: float) -> None:
    """The rule, the value and the set are named."""
    with pytest.raises(UsageError, match=rf"weight of a set .* got {weight:g} for .*/b;"):
        MixedIndex(parts[:2], [1, weight])


def test_sets_that_cannot_be_mixed_are_refused(parts: tuple[ShardIndex, ...]) -> None:
    """Twice the same, under one name or two; an empty one; more or fewer weights than sets."""
    a, b, _ = parts
    again = ShardIndex.open(a.folder)
    with pytest.raises(UsageError, match=r"every set once, got .*/a twice; give it the weight 2"):
        MixedIndex([a, b, again], [1, 1, 1])
    copy = ShardIndex(b.folder, a.records, a.manifest)
    with pytest.raises(UsageError, match=r"got .*/a and .*/b, alike"):
        MixedIndex([a, copy], [1, 1])
    empty = ShardIndex(b.folder, b.records[:0], b.manifest)
    with pytest.raises(DataError, match=r"has samples, got none in .*/b; leave it out"):
        MixedIndex([a, empty], [1, 1])
    with pytest.raises(UsageError, match="got 1 for 2 sets"):
        MixedIndex([a, b], [1])


def test_classes_are_matched_by_name(parts: tuple[ShardIndex, ...]) -> None:
    """Those of one name are one class; the labels of a set without names are left out."""
    a, b, c = parts
    mixed = MixedIndex(
        [with_classes(a, "cat", "dog", "eel"), with_classes(b, "dog", "fox", "cat")], [1, 1]
    )
    assert mixed.classes == ("cat", "dog", "eel", "fox")
    assert mixed.labels(np.arange(37)).tolist() == [i % 3 for i in range(37)]
    assert mixed.labels(np.arange(37, 87)).tolist() == [(1, 3, 0)[i % 3] for i in range(50)]
    assert (mixed.chunk(37, 87)["label"] == mixed.labels(np.arange(37, 87))).all()
    unnamed = MixedIndex([with_classes(a, "cat", "dog", "eel"), with_classes(c)], [1, 1])
    assert unnamed.classes == ("cat", "dog", "eel")
    assert (unnamed.labels(np.arange(37, 45)) == NO_LABEL).all()
    alike = MixedIndex([a, b], [1, 1])
    assert (alike.classes, alike.class_union.is_renumbered) == (a.classes, False)
    with pytest.raises(DataError, match=r"by name, got 2 called cat in .*/b"):
        MixedIndex([a, with_classes(b, "cat", "cat", "eel")], [1, 1])


def test_a_label_that_no_class_has_is_none(parts: tuple[ShardIndex, ...]) -> None:
    """It never becomes another set's class."""
    a, b, _ = parts
    records = np.array(b.records)
    records["label"][:3] = (3, -7, 2**31 - 1)
    odd = ShardIndex(b.folder, records, dataclasses.replace(b.manifest, classes=("x", "y", "z")))
    mixed = MixedIndex([a, odd], [1, 1])
    assert mixed.labels(np.arange(37, 41)).tolist() == [NO_LABEL] * 3 + [3]


def test_a_damaged_index_is_named_not_read_as_another_sets(parts: tuple[ShardIndex, ...]) -> None:
    """A sample in a shard that its set has not would otherwise lie in the next set's."""
    a, b, _ = parts
    records = np.array(a.records)
    records["shard"][5] = 3
    mixed = MixedIndex([ShardIndex(a.folder, records, a.manifest), b], [1, 1])
    for ask in (lambda: mixed.rows(np.array([5])), lambda: mixed.chunk(0, 40)):
        with pytest.raises(DataError, match=r"got shard 3 for .*/a;"):
            ask()


def test_what_stands_for_a_mixture_is_in_its_proportion(parts: tuple[ShardIndex, ...]) -> None:
    """Ids that are looked at for sizes come from every set, as an epoch does."""
    ids = MixedIndex(parts, [1, 0.3, 2]).spread(20)
    assert np.bincount(np.searchsorted((37, 87), ids, side="right")).tolist() == [11, 5, 5]
    assert len(MixedIndex(parts, [1, 0.3, 2]).spread(10_000)) == 95
    one = parts[0]
    assert one.spread(5).tolist() == [0, 9, 18, 27, 36]
    assert one.spread(1000).tolist() == list(range(37))


def test_views_are_those_of_the_pass_of_a_set(parts: tuple[ShardIndex, ...]) -> None:
    """A function of (seed, pass, id): the same with other weights, batches, ranks and threads."""
    mixed = MixedIndex(parts[:2], [1, 0.3])
    one = views_by_sample(take(20, mixed, batch_size=8))
    two = [take(20, mixed, batch_size=8, rank=rank, world=2, num_workers=3) for rank in range(2)]
    assert views_by_sample(two[0] + two[1]) == one
    assert len(one) == 160
    other = views_by_sample(take(20, MixedIndex(parts[:2], [0.5, 2]), batch_size=8))
    common = one.keys() & other.keys()
    assert len(common) > 50
    assert all(one[key] == other[key] for key in common)


def test_a_bad_sample_is_named_with_its_folder(parts: tuple[ShardIndex, ...]) -> None:
    """Shards of two sets may have one name; its substitute is of the same set."""
    a, b, _ = parts
    overwrite(b, 3)
    mixed = MixedIndex([a, b], [1, 1])
    with ShardReader(mixed, verify=True) as reader:
        (found,) = reader.read(np.array([40]))
    assert isinstance(found, SampleError)
    assert (found.id, found.key) == (40, "00000003")
    assert found.reason.endswith(f"({b.directory}/train-000000.tar)")
    bad: list[Any] = []
    batches = take(11, mixed, batch_size=8, on_warning=bad.append, bad_budget=0.1)
    assert [(sample.id, sample.shard) for sample in bad] == [
        (40, f"{b.directory}/train-000000.tar")
    ]
    assert 40 not in np.concatenate([views.ids for views in batches])
    counts = np.bincount(np.concatenate([views.ids for views in batches]) >= 37)
    assert counts.tolist() == MixedIndex([a, b], [1, 1]).windowed_order(3, None).counts(88)


def test_a_set_from_afar_beside_one_of_the_disk(
    tmp_path: Path, serve: Serve, parts: tuple[ShardIndex, ...]
) -> None:
    """Both are read, in windows of shards, each by its own way; the cache holds both windows."""
    a, b, _ = parts
    server = serve(b.folder)
    largest = max(shard.size_bytes for shard in b.shards)
    afar = open_at(server, cache_bytes=3 * largest)
    mixed = MixedIndex([a, afar], [1, 0.5])
    assert mixed.order(0).window_shards == 8
    order = mixed.windowed_order(0, 1)
    with ShardReader(mixed) as reader:
        for start in range(0, 310, 31):
            reader.expect(order.shards_ahead(start))
            ids = order(np.arange(start, start + 31))[1]
            assert all(isinstance(item, bytes) for item in reader.read(ids))
    sets = [(part.folder, part.shards) for part in mixed.parts]
    assert str(afar.directory.cache_folder) in str(note_on_window(sets, 1))
    with pytest.raises(UsageError, match=r"loop\.window_shards=4, got"):
        note_on_window(sets, 4)


def test_two_sets_from_afar_share_one_cache(serve: Serve, parts: tuple[ShardIndex, ...]) -> None:
    """What is fetched ahead of both stays within the bound, and is theirs by their sizes."""
    a, b, _ = parts
    total = sum(shard.size_bytes for part in (a, b) for shard in part.shards)
    both = [open_at(serve(part.folder), cache_bytes=total // 2) for part in (a, b)]
    mixed = MixedIndex(both, [1, 1])
    with ShardReader(mixed) as reader:
        reader.expect(None)
        files = reader._files._parts  # pyright: ignore[reportAttributeAccessIssue]
        sizes = [
            sum(part.shards[shard].size_bytes for shard in own._to_fetch)
            for part, own in zip((a, b), files, strict=True)
        ]
        assert all(sizes)
        assert sum(sizes) <= total // 2
