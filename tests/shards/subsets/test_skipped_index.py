"""An index without some samples is the index of the set that never had them."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faulty_server import FaultyServer

from shards.errors import UsageError
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.samples.skip_list import read_skip_list, skip_list_text
from shards.subsets.skipped_index import SkippedIndex, leave_out_samples

SKIPPED = [0, 5, 12, 13, 36]
KEPT = np.setdiff1d(np.arange(37), SKIPPED)


def listed(path: Path, index: ShardIndex, *, by_number: bool) -> Path:
    names, keys = index.names(SKIPPED), index.keys(SKIPPED)
    if by_number:
        path.write_text(skip_list_text(names, keys, SKIPPED, index.fingerprint))
    else:
        path.write_text("\n".join(names))
    return path


@pytest.mark.parametrize("by_number", [True, False])
def test_it_holds_the_others(by_number: bool, shard_folder: Path, tmp_path: Path) -> None:
    """Records, keys, sizes, labels and bytes of the others in their order; counted by shard."""
    index = ShardIndex.open(shard_folder)
    skip = read_skip_list(listed(tmp_path / "s.txt", index, by_number=by_number))
    part = leave_out_samples(index, skip)
    ids = np.arange(len(part))
    assert np.array_equal(part.records, index.records[KEPT])
    assert part.keys(ids) == index.keys(KEPT)
    assert np.array_equal(part.labels(ids), index.labels(KEPT))
    assert [shard.num_samples for shard in part.shards] == [10, 11, 11]
    with ShardReader(part, verify=True) as ours, ShardReader(index) as whole:
        assert ours.read(ids) == whole.read(KEPT)
    assert part.fingerprint != index.fingerprint


@pytest.mark.parametrize("window", [None, 2])
def test_an_epoch_has_each_of_the_others_once(
    window: int | None, shard_folder: Path, tmp_path: Path
) -> None:
    """The order is a pure function of the seed as ever, with windows and without."""
    index = ShardIndex.open(shard_folder)
    part = leave_out_samples(
        index, read_skip_list(listed(tmp_path / "s.txt", index, by_number=True))
    )
    epochs, ids = part.windowed_order(3, window)(np.arange(2 * len(part)))
    for epoch in (0, 1):
        assert sorted(part.keys(ids[epochs == epoch])) == index.keys(KEPT)
    again = part.windowed_order(3, window)(np.arange(2 * len(part)))[1]
    assert np.array_equal(ids, again)


def test_another_process_gets_the_same(shard_folder: Path, tmp_path: Path) -> None:
    """It is sent as a folder and numbers."""
    index = ShardIndex.open(shard_folder)
    part = SkippedIndex(index, np.array(SKIPPED))
    sent = pickle.loads(pickle.dumps(part))
    assert sent.fingerprint == part.fingerprint
    assert np.array_equal(sent.records, part.records)
    other = SkippedIndex(index, np.array(SKIPPED[1:]))
    assert other.fingerprint != part.fingerprint
    # As many of every shard, and others of them.
    same_counts = [SkippedIndex(index, np.array([sample])).fingerprint for sample in (0, 1)]
    assert same_counts[0] != same_counts[1]


def test_numbers_of_another_set_are_not_trusted(
    shard_folder: Path, tmp_path: Path, new_shards: Callable[..., Path]
) -> None:
    """A list that was made of another packing is looked up by its names."""
    index, other = ShardIndex.open(shard_folder), ShardIndex.open(new_shards(num_shards=2))
    path = tmp_path / "s.txt"
    path.write_text(
        skip_list_text(index.names(SKIPPED), index.keys(SKIPPED), [1, 2, 3, 4, 6], "of another")
    )
    part = leave_out_samples(other, read_skip_list(path))
    assert isinstance(part, SkippedIndex)
    assert part.skipped.tolist() == SKIPPED


def test_a_list_of_nothing_changes_nothing(shard_folder: Path, tmp_path: Path) -> None:
    """A program that found no duplicates wrote it."""
    index, path = ShardIndex.open(shard_folder), tmp_path / "s.txt"
    path.write_text(skip_list_text([], [], [], index.fingerprint))
    assert leave_out_samples(index, read_skip_list(path)) is index


def test_a_list_that_does_not_fit_is_refused(
    shard_folder: Path, tmp_path: Path, indexed_folder: Path,
    serve: Callable[..., FaultyServer],
) -> None:  # fmt: skip
    """Names of nobody, all images, numbers beyond the set; remote names are not looked up."""
    index, path = ShardIndex.open(shard_folder), tmp_path / "s.txt"
    path.write_text("nobody.jpg\n00000003\n")
    with pytest.raises(UsageError, match=r"got 1 of 2 lines of .* that name none, 'nobody.jpg'"):
        leave_out_samples(index, read_skip_list(path))
    path.write_text("\n".join(index.names(np.arange(37))))
    with pytest.raises(UsageError, match="leaves images to train on"):
        leave_out_samples(index, read_skip_list(path))
    path.write_text(skip_list_text(["nobody.jpg"], ["x"], [37], index.fingerprint))
    with pytest.raises(UsageError, match=r"'nobody.jpg' \(line 2\) first"):
        leave_out_samples(index, read_skip_list(path))
    server = serve(indexed_folder)
    remote = ShardIndex.open(server.url)
    numbered = read_skip_list(listed(path, index, by_number=True))
    assert len(leave_out_samples(remote, numbered)) == len(KEPT)
    named = read_skip_list(listed(path, index, by_number=False))
    with pytest.raises(UsageError, match="a skip list of remote shards was made of these"):
        leave_out_samples(remote, named)
