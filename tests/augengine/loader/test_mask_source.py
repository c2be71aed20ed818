"""Masks in the loader: read with images, bad ones counted, missing ones left, resume exact."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from masked_set import NUM_IMAGES, UNMASKED, pictured, png, write_masked_tar
from small_loader import POLICY, views_by_sample

from augengine.backends.create_backend import create_backend
from augengine.loader.mask_source import check_masks
from augengine.loader.view_loader import ViewLoader
from augengine.policies import override_policy
from augengine.reference import render_of
from augengine.views import Views
from shards.errors import DataError, UsageError
from shards.index import ShardIndex

SWAP = override_policy(POLICY, {"background": {"prob": 0.6, "kind": "swap"}})
REMOVE = override_policy(POLICY, {"background": {"prob": 0.6, "fill": "color"}})


def loader_of(folder: Path, policy=SWAP, **settings) -> ViewLoader:
    defaults = {"batch_size": 8, "seed": 3, "backend": "fused", "decoder": "pillow"}
    defaults |= {"device": "cpu", "on_warning": lambda bad: None, "bad_budget": 0.5}
    return ViewLoader(ShardIndex.open(folder), policy, **(defaults | settings))


def take(count: int, folder: Path, policy=SWAP, **settings) -> list[Views]:
    with loader_of(folder, policy, **settings) as loader:
        return [next(loader) for _ in range(count)]


@pytest.fixture(scope="module")
def masked_tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked_tar(tmp_path_factory.mktemp("masked"))


def test_views_are_those_of_the_set(masked_tars: Path) -> None:
    """Each batch's are the reference's of its images and their masks."""
    for views in take(3, masked_tars):
        pairs = [pictured(int(id)) for id in views.ids]
        for v in range(views.plan.num_views):
            group = views.crops[views.plan.group[v]]
            for b in range(views.batch_size):
                made = group[v - (2 if views.plan.group[v] else 0), b].numpy()
                assert np.abs(made - render_of(pairs, views.plan, b, v)).mean() < 0.02


def test_it_goes_on_with_bit_equal_views(masked_tars: Path) -> None:
    """From every cursor, over the border of an epoch, with one worker or three."""
    whole = take(6, masked_tars)
    assert any(views.plan.background.any() for views in whole)
    for start in (1, 3):
        rest = take(6 - start, masked_tars, cursor=whole[start - 1].cursor, num_workers=3)
        for views, again in zip(whole[start:], rest, strict=True):
            assert views.plan.digest() == again.plan.digest()
            for crops, others in zip(views.crops, again.crops, strict=True):
                np.testing.assert_array_equal(crops.numpy(), others.numpy())


def test_a_removed_background_does_not_know_the_batch(masked_tars: Path) -> None:
    """Batches of 7 on one rank and 14 on two give each sample the same views."""
    alone = views_by_sample(take(3, masked_tars, REMOVE, batch_size=7))
    ranks = [take(2, masked_tars, REMOVE, batch_size=14, rank=r, world=2) for r in (0, 1)]
    others = views_by_sample([*ranks[0], *ranks[1]])
    assert sum(alone[key] == others[key] for key in alone.keys() & others) >= NUM_IMAGES


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (png(np.full((7, 9), 255, np.uint8)), "its mask: a mask has the size of its image"),
        (png(pictured(6)[1])[:-20], "its mask: the PNG"),
        (b"x", "its mask: not an image"),
    ],
)
def test_a_broken_mask_is_one_bad_sample(tmp_path: Path, broken: bytes, why: str) -> None:
    """Named once, counted, replaced; where no background changes nobody looks at it."""
    folder = write_masked_tar(tmp_path, {6: broken})
    with loader_of(folder) as loader:
        met = [bad for _ in range(6) for bad in next(loader).bad]
        (bad,) = loader.bad_samples
    assert (bad.id, bad.key) == (6, "000006")
    assert why in bad.reason
    assert all(sample.substitute not in (None, 6) for sample in met)
    with pytest.raises(DataError, match="000006"):
        take(6, folder, on_bad="fail")
    assert not any(views.bad for views in take(4, folder, POLICY))


def test_an_image_without_mask_is_left_as_it_is(masked_tars: Path) -> None:
    """It is no bad sample, and the whole set's count is said."""
    always = override_policy(POLICY, {"background": {"prob": 1}})
    for views in take(4, masked_tars, always):
        is_kept = np.isin(views.ids, UNMASKED)
        assert not views.plan.background[is_kept].any()
        assert views.plan.background[~is_kept].all()
        assert not views.bad
    told = check_masks(ShardIndex.open(masked_tars), always)
    assert told.startswith(f"{len(UNMASKED)} of {NUM_IMAGES} images has no mask")
    assert not check_masks(ShardIndex.open(masked_tars), POLICY)


def test_a_set_without_masks_is_refused(shard_folder: Path) -> None:
    """In one line, before a thread starts."""
    with pytest.raises(UsageError, match="background needs images with masks, got none in"):
        loader_of(shard_folder)


def test_the_plan_is_the_batchs_alone(masked_tars: Path) -> None:
    """A donor is an image of its own batch."""
    for views in take(4, masked_tars):
        pasted = views.plan.background == 2
        assert np.isin(views.plan.donor[pasted], views.ids).all()
        assert replace(views.plan).digest() == views.plan.digest()


def test_half_precision_views_are_composed_too(masked_tars: Path) -> None:
    """Whatever the backend's type is."""
    import torch

    backend = create_backend("fused", "cpu", torch.bfloat16)
    halves, floats = (take(1, masked_tars, backend=b)[0] for b in (backend, "fused"))
    for half, whole in zip(halves.crops, floats.crops, strict=True):
        assert (half.float() - whole).abs().max() < 0.05
