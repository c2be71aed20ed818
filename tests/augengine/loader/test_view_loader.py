import gc
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_loader import (
    CPU,
    POLICY,
    ReferenceBackend,
    assert_equal_views,
    lie,
    loader_of,
    open_bytes,
    overwrite,
    stream_ids,
    take,
    views_by_sample,
)

from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.draw import draw_plan
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.reference import render
from shards.cursor import Cursor
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.order import SampleOrder


@pytest.fixture
def index(shard_folder):
    return ShardIndex.open(shard_folder)


@pytest.fixture(scope="module")
def truth(shard_folder):
    """Both first epochs, from the plainest loader there is."""
    index = ShardIndex.open(shard_folder)
    return views_by_sample(take(2 * len(index), index, batch_size=1, num_workers=1, prefetch=0))


@pytest.mark.parametrize("num_workers", [1, 4])
@pytest.mark.parametrize("batch_size", [8, 64])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_views_depend_on_seed_epoch_and_id_alone(index, truth, num_workers, batch_size, world):
    """World 1/2/4, batch 8/64, workers 1/4: each (epoch, id) has the bit-equal views."""
    batches = [
        views
        for rank in range(world)
        for views in take(
            64 // batch_size,
            index,
            batch_size=batch_size,
            num_workers=num_workers,
            rank=rank,
            world=world,
        )
    ]
    seen = views_by_sample(batches)
    assert len(seen) == 64
    assert all(truth[sample] == pixels for sample, pixels in seen.items())


def test_every_epoch_has_every_sample_once(index, truth):
    """Batches cross the epochs' border, and two epochs are each a permutation of all ids."""
    assert sorted(truth) == [(epoch, id) for epoch in (0, 1) for id in range(len(index))]
    crossing = take(5, index)[4]
    assert set(crossing.plan.epochs.tolist()) == {0, 1}


@pytest.mark.parametrize("name", ["kornia", "dali", "fused"])
def test_real_backends_and_decoders_are_exact_too(new_shards, name):
    """With a corrupt image amid them: workers, threads and batch size change no bit of a view."""
    if name == "dali":
        pytest.importorskip("nvidia.dali")
    index = ShardIndex.open(new_shards())
    overwrite(index, int(stream_ids(index, 8)[5]))
    seen = []
    for num_workers, batch_size, num_threads in [(1, 16, 1), (4, 4, 2)]:
        batches = take(
            32 // batch_size,
            index,
            batch_size=batch_size,
            num_workers=num_workers,
            backend=create_backend(name, CPU, num_threads=num_threads),
            decoder=create_decoder("auto", CPU, num_threads=num_threads),
        )
        seen.append(views_by_sample(batches))
    assert len(seen[0]) >= 31  # the substitute may come by itself too
    assert seen[0] == seen[1]


def test_pixels_are_the_plans_of_the_right_images(index):
    """A batch holds, row by row, the reference's rendering of each id's own image and plan."""
    views = take(1, index)[0]
    plan = draw_plan(POLICY, views.ids, views.plan.epochs, index.sizes(views.ids), 3)
    assert views.plan.digest() == plan.digest()
    assert views.ids.tolist() == stream_ids(index, 8).tolist()
    assert views.labels.tolist() == (views.ids % 3).tolist()
    images = create_decoder("pillow", CPU, num_threads=1)(
        [open_bytes(index, int(id)) for id in views.ids]
    )
    for b, image in enumerate(images):
        expected = render(image.numpy(), plan, b, 1)
        np.testing.assert_array_equal(views.crops[0][1, b].numpy(), expected)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_resume_from_every_cursor_is_exact(index, num_workers):
    """From the cursor after each batch, over an epoch's border, the rest is bit-equal."""
    whole, cursors = [], [Cursor(0)]
    with loader_of(index, num_workers=num_workers) as loader:
        for _ in range(7):
            whole.append(next(loader))
            assert whole[-1].cursor == loader.cursor
            cursors.append(whole[-1].cursor)
    assert [cursor.position for cursor in cursors] == [8 * i for i in range(8)]
    for step, cursor in enumerate(cursors[:-1]):
        resumed = take(7 - step, index, cursor=cursor, num_workers=4 - num_workers)
        assert_equal_views(resumed, whole[step:])


def test_a_corrupt_sample_is_named_and_replaced(new_shards):
    """Its substitute stands in its row, with its own views and label; the others are untouched."""
    index = ShardIndex.open(new_shards())
    clean, bad_id = take(3, index), int(stream_ids(index, 8)[5])
    overwrite(index, bad_id)
    warned = []
    with loader_of(index, on_warning=warned.append) as loader:
        views = next(loader)
        substitute = SampleOrder(len(index), 3).substitute(np.array([0]), np.array([bad_id]), 0)[0]
        assert views.ids.tolist() == [*clean[0].ids[:5], substitute, *clean[0].ids[6:]]
        assert views.labels[5] == substitute % 3
        others = [next(loader), next(loader)]
        assert_equal_views(others, clean[1:])
        assert views.bad == (replace(warned[0], substitute=int(substitute)),)
        assert [batch.bad for batch in others] == [(), ()]
        assert loader.meter.snapshot().bad_samples == 1
        assert loader.bad_samples == tuple(warned)
    assert [(bad.id, bad.key) for bad in warned] == [(bad_id, f"{bad_id:08d}")]
    assert warned[0].shard == index.shards[index.entry(bad_id).shard].name
    others = [0, 1, 2, 3, 4, 6, 7]
    assert torch.equal(views.crops[0][:, others], clean[0].crops[0][:, others])
    assert views_by_sample([views]).items() <= views_by_sample(take(5, index)).items()


def test_a_batch_carries_what_was_bad_each_time(new_shards):
    """In every epoch anew, although the loader names it once; on two ranks the one that met it."""
    index = ShardIndex.open(new_shards())
    bad_id = int(stream_ids(index, 8)[5])
    overwrite(index, bad_id)
    with loader_of(index) as loader:
        met = [(bad.id, bad.epoch) for _ in range(9) for bad in next(loader).bad]
        assert met == [(bad_id, 0), (bad_id, 1)]
        assert [bad.id for bad in loader.bad_samples] == [bad_id]
    first, second = (take(1, index, rank=rank, world=2)[0] for rank in (0, 1))
    assert (len(first.bad), len(second.bad)) == (0, 1)
    assert first.cursor == second.cursor == Cursor(8)


def test_a_bad_substitute_is_replaced_in_turn(new_shards):
    """When the first substitute is bad too, it is named as well and the second one is used."""
    index, order = ShardIndex.open(new_shards()), SampleOrder(37, 3)
    bad_id = stream_ids(index, 8)[:1]
    first, second = (order.substitute(np.array([0]), bad_id, attempt)[0] for attempt in (0, 1))
    overwrite(index, int(bad_id[0]))
    overwrite(index, int(first))
    with loader_of(index, bad_budget=1.0, batch_size=1) as loader:
        assert next(loader).ids.tolist() == [second]
        assert [bad.id for bad in loader.bad_samples] == [bad_id[0], first]


@pytest.mark.parametrize("num_workers", [1, 4])
def test_over_budget_stops_at_the_same_batch(new_shards, num_workers):
    """Two bad samples of 37 exceed the budget at the second one's batch, whatever the workers."""
    index = ShardIndex.open(new_shards())
    ids = stream_ids(index, 24)
    overwrite(index, int(ids[1]))
    overwrite(index, int(ids[17]))  # in the third batch
    with loader_of(index, num_workers=num_workers) as loader:
        next(loader)
        next(loader)
        for _ in range(2):
            with pytest.raises(DataError, match=rf"{ids[1]:08d}.*{ids[17]:08d}"):
                next(loader)
        assert loader.cursor == Cursor(16)


def test_on_bad_fail_stops_with_the_name(new_shards):
    """The first bad sample ends the run when nothing may be replaced."""
    index = ShardIndex.open(new_shards())
    overwrite(index, int(stream_ids(index, 1)[0]))
    with loader_of(index, on_bad="fail") as loader, pytest.raises(DataError, match="train-0"):
        next(loader)


def test_nothing_but_bad_samples_ends(new_shards):
    """When no substitute is good the run stops too, even with a budget that allows all."""
    index = ShardIndex.open(new_shards(num_samples=3))
    for id in range(3):
        overwrite(index, id)
    with loader_of(index, bad_budget=1.0) as loader, pytest.raises(DataError, match="only bad"):
        next(loader)


def test_verify_finds_what_still_decodes(new_shards):
    """A flipped byte at the end of a JPEG decodes; with verify its crc32 gives it away."""
    index = ShardIndex.open(new_shards())
    bad_id = int(stream_ids(index, 1)[0])
    overwrite(index, bad_id, b"\x55", offset=index.entry(bad_id).size - 3)
    assert bad_id in take(1, index)[0].ids
    with loader_of(index, verify=True) as loader:
        next(loader)
        assert "crc32" in loader.bad_samples[0].reason


def test_a_lying_index_makes_a_bad_sample(index):
    """An image that decodes to another size than its index says is replaced: its plan is wrong."""
    lying, lied = lie(index, "height", lambda height: height + 1)
    with loader_of(lying) as loader:
        assert lied not in next(loader).ids
        assert "rebuild the index" in loader.bad_samples[0].reason


def test_a_huge_image_never_reaches_the_decoder(index):
    """Over 100 megapixels by the index: neither read nor decoded, replaced and named."""
    lying, lied = lie(index, "height", lambda height: 65_000)
    lying.records["width"][lied] = 65_000
    decoder = create_decoder("pillow", CPU, num_threads=1)
    counts = []

    def counting(encoded):
        counts.append(len(encoded))
        return decoder(encoded)

    with loader_of(lying, decoder=counting, num_workers=1, prefetch=0) as loader:
        assert lied not in next(loader).ids
        assert "100,000,000 pixels" in loader.bad_samples[0].reason
    assert counts[:2] == [7, 1]  # all but the huge one, then its substitute


def test_a_failing_stage_reaches_the_consumer_in_order(index):
    """An unexpected error in batch 2 arrives after batches 0 and 1, and the cursor stays there."""

    class Failing(ReferenceBackend):
        def __call__(self, images, plan):
            if plan.ids[0] == stream_ids(index, 17)[16]:
                raise OSError("the device is gone")
            return super().__call__(images, plan)

    with loader_of(index, backend=Failing(), num_workers=4) as loader:
        next(loader)
        next(loader)
        for _ in range(2):
            with pytest.raises(OSError, match="the device is gone"):
                next(loader)
        assert loader.cursor == Cursor(16)


def num_workers_alive():
    return sum(thread.name.startswith("views-") for thread in threading.enumerate())


def open_tars():
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return {link for link in links if os.path.realpath(link).endswith(".tar")}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files through /proc")
def test_close_leaves_no_thread_and_no_file(index):
    """After the `with` block, and after a loader is forgotten, threads and files are gone."""

    gc.collect()  # what earlier tests left
    before, tars_before = num_workers_alive(), open_tars()
    with loader_of(index, num_workers=4) as loader:
        next(loader)
        assert num_workers_alive() == before + 4
        assert open_tars() > tars_before
    assert num_workers_alive() == before
    assert open_tars() <= tars_before
    with pytest.raises(RuntimeError, match="closed"):
        next(loader)
    forgotten = loader_of(index, num_workers=4)
    next(forgotten)
    del forgotten
    gc.collect()
    assert num_workers_alive() == before


def test_the_meter_counts_every_stage(index):
    """After 3 batches: 24 images and 72 views delivered, each stage at least as many images."""
    with loader_of(index) as loader:
        for _ in range(3):
            next(loader)
        snapshot = loader.meter.snapshot()
    assert (snapshot.images, snapshot.views, snapshot.bad_samples) == (24, 72, 0)
    assert snapshot.stages["wait"].images == 24
    for stage in ("read", "decode", "draw", "augment"):
        assert snapshot.stages[stage].images >= 24
        assert snapshot.stages[stage].seconds > 0
    assert 0 < snapshot.wait_share <= 1


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"batch_size": 0}, "global batch"),
        ({"batch_size": 9, "world": 2}, "multiple of the 2"),
        ({"rank": 2, "world": 2}, "rank"),
        ({"num_workers": 0}, "num_workers"),
        ({"bad_budget": 2.0}, "share"),
    ],
)
def test_settings_are_checked_before_anything_runs(index, settings, rule):
    """A wrong batch, rank, worker count or budget is a usage error at construction."""
    with pytest.raises(UsageError, match=rule):
        loader_of(index, **settings)


def center(index, **settings):
    decoder = create_decoder("pillow", CPU, num_threads=1)
    settings = {"backend": ReferenceBackend(), "decoder": decoder} | settings
    return list(iter_listed_views(index, CenterSquare(10), 8, **settings))


def test_center_views_cover_every_sample_once_in_order(index):
    """All ids ascending, the last batch partial, one view of each, labels beside them."""
    batches = center(index)
    assert [views.batch_size for views in batches] == [8, 8, 8, 8, 5]
    ids = np.concatenate([views.ids for views in batches])
    assert ids.tolist() == list(range(37))
    assert np.concatenate([views.labels for views in batches]).tolist() == (ids % 3).tolist()
    assert all(views.crops[0].shape == (1, views.batch_size, 3, 10, 10) for views in batches)


def test_center_views_of_some_ids_keep_their_order(index):
    """`ids` chooses and orders; the same image gives the same view."""
    batches = center(index, ids=np.array([30, 2, 2]), num_workers=1)
    assert batches[0].ids.tolist() == [30, 2, 2]
    assert torch.equal(batches[0].crops[0][0, 1], center(index)[0].crops[0][0, 2])
    assert center(index, ids=np.array([], dtype=np.int64)) == []


def test_center_views_leave_bad_samples_out_and_say_so(new_shards):
    """A bad image is missing from `ids` and named; over the budget evaluation stops."""
    index = ShardIndex.open(new_shards())
    overwrite(index, 9)
    warned = []
    batches = center(index, on_warning=warned.append)
    ids = np.concatenate([views.ids for views in batches])
    assert ids.tolist() == [id for id in range(37) if id != 9]
    assert [[bad.id for bad in views.bad] for views in batches] == [[], [9], [], [], []]
    assert [views.cursor.position for views in batches] == [8, 16, 24, 32, 37]
    assert [bad.id for bad in warned] == [9]
    with pytest.raises(DataError, match=f"at most 0 of 16 samples of {index.directory} may be bad"):
        center(index, on_warning=warned.append, on_bad="fail")
    overwrite(index, 20)
    with pytest.raises(DataError, match="00000020"):
        center(index, on_warning=warned.append)


def test_center_views_stopped_early_end_their_threads(index):
    """Breaking out of the loop leaves no thread behind."""
    before = num_workers_alive()
    views = iter_listed_views(
        index,
        CenterSquare(10),
        8,
        backend=ReferenceBackend(),
        decoder=create_decoder("pillow", CPU, num_threads=1),
    )
    next(views)
    views.close()
    assert num_workers_alive() == before
