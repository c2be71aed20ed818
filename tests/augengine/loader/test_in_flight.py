"""Decoded images stay within a bound of bytes, which changes no view and locks nobody out."""

import shutil
import threading
import time

import numpy as np
import pytest
import torch
from small_loader import (
    CPU,
    ReferenceBackend,
    assert_equal_views,
    loader_of,
    overwrite,
    stream_ids,
    take,
    views_by_sample,
)

from augengine.decoders.create_decoder import create_decoder
from augengine.loader.center_plan import CenterSquare
from augengine.loader.in_flight import InFlight, decoded_bytes
from augengine.loader.listed_loader import iter_listed_views
from shards.errors import DataError
from shards.format import MAX_IMAGE_PIXELS
from shards.index import ShardIndex

SIZES = (40, 60, 10, 90, 200, 30, 30, 70)


def hold(in_flight: InFlight, num_bytes: int, held: list[int], seen: list[int]) -> None:
    with in_flight.piece(num_bytes):
        held.append(num_bytes)
        seen.append(sum(held))
        time.sleep(0.002)
        held.remove(num_bytes)


@pytest.mark.parametrize("bound", [100, 5, None])
def test_bytes_stay_within_the_bound(bound: int | None) -> None:
    """Whoever comes with whatever; what is larger than the bound is let in alone."""
    in_flight, held, seen = InFlight(bound), [], []
    threads = [
        threading.Thread(target=hold, args=(in_flight, size, held, seen)) for size in SIZES * 5
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == len(SIZES) * 5
    if bound is not None:
        assert all(total <= bound or total in SIZES for total in seen)
        assert bound == 5 or max(total for total in seen if total != 200) <= 100


def test_who_came_first_is_let_in_first() -> None:
    """A large batch is not overtaken for ever by small ones that would fit beside the first."""
    in_flight, order = InFlight(100), []

    def come(size: int) -> None:
        with in_flight.piece(size):
            order.append(size)

    with in_flight.piece(50):
        threads = [threading.Thread(target=come, args=(size,)) for size in (80, 20, 30)]
        for number, thread in enumerate(threads):
            thread.start()
            while in_flight._next_ticket < number + 2:
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join(20)
    assert order[0] == 80


def test_a_batch_that_fails_leaves() -> None:
    """Its bytes are free for the next."""
    in_flight = InFlight(10)
    with pytest.raises(DataError), in_flight.piece(10):
        raise DataError("torn")
    with in_flight.piece(10):
        pass


def test_what_is_never_decoded_takes_no_room() -> None:
    """Three bytes a pixel; an image over the limit of pixels is refused by its size."""
    side = int(MAX_IMAGE_PIXELS**0.5)
    assert decoded_bytes(np.array([[2, 5], [3, 1]], np.int32)) == 39
    assert decoded_bytes(np.array([[side, 2 * side]], np.int32)) == 0


class Counting:
    """A decoder that knows how many bytes of its images are alive."""

    name, device = "counting", CPU

    def __init__(self) -> None:
        self._decode = create_decoder("pillow", CPU, num_threads=1)
        self._lock = threading.Lock()
        self.alive, self.most = 0, 0

    def __call__(self, encoded: list[bytes]) -> list:
        import weakref

        images = self._decode(encoded)
        for image in images:
            weakref.finalize(image, self._gone, image.numel())
        with self._lock:
            self.alive += sum(image.numel() for image in images)
            self.most = max(self.most, self.alive)
        time.sleep(0.01)  # so that threads would be here together
        return images

    def _gone(self, num_bytes: int) -> None:
        with self._lock:
            self.alive -= num_bytes


def test_a_loader_keeps_the_bound_and_its_views(shard_folder) -> None:
    """Four threads and room for less than two batches: as one thread, and no more bytes at once."""
    index = ShardIndex.open(shard_folder)
    sizes = index.sizes(np.arange(len(index))).astype(np.int64)
    batch = 8 * 3 * int(sizes.prod(axis=1).max())
    free, bound = Counting(), Counting()
    expected = views_by_sample(take(12, index, decoder=free, num_workers=4, prefetch=4))
    settings = {"num_workers": 4, "prefetch": 4, "decoded_bytes": batch}
    assert views_by_sample(take(12, index, decoder=bound, **settings)) == expected
    assert bound.most <= batch < free.most


def test_a_batch_over_the_bound_is_made_in_pieces(shard_folder) -> None:
    """An image more than fits, or one at a time: the same batches, and no more bytes at once.

    A list of images too, whose batches keep their size.
    """
    index = ShardIndex.open(shard_folder)
    ids = np.arange(len(index))
    sizes = index.sizes(ids).astype(np.int64)
    largest = 3 * int(sizes.prod(axis=1).max())
    expected = take(6, index)
    listed = list(
        iter_listed_views(index, CenterSquare(8), 16, decoder="pillow", backend=ReferenceBackend())
    )
    for bound in (2 * largest, largest):
        counting = Counting()
        settings = {"decoder": counting, "decoded_bytes": bound}
        assert_equal_views(take(6, index, num_workers=3, **settings), expected)
        found = list(
            iter_listed_views(index, CenterSquare(8), 16, backend=ReferenceBackend(), **settings)
        )
        assert_equal_views(found, listed)
        assert counting.most <= bound
    (alone, *_) = take(1, index, decoded_bytes=1)
    assert_equal_views([alone], expected[:1])
    assert alone.crops[0].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_bad_samples_of_pieces_are_those_of_the_batch(shard_folder, tmp_path) -> None:
    """Replaced by the same images and told once, or left out of a list, in pieces as whole."""
    index = ShardIndex.open(shutil.copytree(shard_folder, tmp_path / "shards"))
    for id in stream_ids(index, 16)[::3]:
        overwrite(index, int(id))

    def met(**settings) -> tuple[list, list]:
        batches = take(2, index, bad_budget=1.0, **settings)
        return batches, [sorted(map(str, views.bad)) for views in batches]

    def left(**settings) -> list[tuple]:
        batches = iter_listed_views(
            index, CenterSquare(8), 16, bad_budget=1.0, decoder="pillow", **settings
        )
        return [(views.ids.tolist(), sorted(map(str, views.bad))) for views in batches]

    (whole, bad), (cut, bad_of_pieces) = met(), met(decoded_bytes=1)
    assert_equal_views(cut, whole)
    assert any(bad)
    assert bad_of_pieces == bad
    assert left(decoded_bytes=1) == left()


def test_views_are_handed_over_where_they_are_wanted(shard_folder) -> None:
    """Made on the CPU, given on another device; ids, labels and plan are as before."""
    index, elsewhere = ShardIndex.open(shard_folder), torch.device("meta")
    with loader_of(index, hand_over_on=elsewhere) as loader:
        moved = next(loader)
        stages = loader.meter.snapshot().stages
    (stayed,) = take(1, index)
    assert all(crops.device == elsewhere for crops in moved.crops)
    assert [crops.shape for crops in moved.crops] == [crops.shape for crops in stayed.crops]
    assert moved.ids.tolist() == stayed.ids.tolist()
    assert moved.cursor == stayed.cursor
    np.testing.assert_array_equal(moved.plan.window, stayed.plan.window)
    assert stages["transfer"].images >= 8
    with loader_of(index, hand_over_on=CPU) as loader:
        next(loader)
        assert loader.meter.snapshot().stages["transfer"].calls == 0
