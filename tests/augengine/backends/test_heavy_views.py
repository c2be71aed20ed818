"""Heavy views: the reference's to the bit on every backend, made of what it has finished."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from heavy_cases import MAGNITUDES, SIDES, views
from parity_cases import photographs

from augengine.backends.create_backend import backends_on, create_backend
from augengine.backends.heavy_levels import LEVEL_OPS
from augengine.backends.heavy_moves import MOVES, cutout, move, shuffle_tiles
from augengine.backends.heavy_views import heavy_views
from augengine.draw import draw_plan
from augengine.heavy import plain_ops
from augengine.heavy.heavy_ops import NAMES, OPS
from augengine.heavy.heavy_plan import HeavyPlan
from augengine.heavy.plain_ops import make_heavy
from augengine.loader.make_views import make_views
from augengine.plain.colour_ops import normalize
from augengine.plan import Plan
from augengine.policies import load_policy, override_policy
from augengine.policy import Policy
from augengine.reference import render, render_heavy

CPU = torch.device("cpu")
BOTH = {
    "randaugment": {"num_ops": 3, "magnitude": 9, "prob": 0.6},
    "grid_shuffle": {"grid": 4, "prob": 0.25},
}
RANDAUGMENT = {"randaugment": {"prob": 1}}


def policy(heavy: object = BOTH, side: int = 33) -> Policy:
    """SimSiam's, two views and a local one."""
    small = load_policy("simsiam").with_views((2, 1), (side, 16))
    return override_policy(small, {"heavy": heavy})


def draw(num_images: int, heavy: object = BOTH, seed: int = 0) -> Plan:
    """Of the first photographs."""
    ids = np.arange(num_images)
    sizes = np.array([image.shape[:2] for image in photographs()[:num_images]])
    return draw_plan(policy(heavy), ids, ids * 0, sizes, seed)


@pytest.mark.parametrize("name", OPS)
def test_many_views_at_once_are_the_references(name: str) -> None:
    """Each op on a batch of unlike views at unlike amounts, to the level."""
    op, number = OPS[name], NAMES.index(name)
    for side in SIDES:
        rows, amounts, places = [], [], []
        for i, x in enumerate(x for _ in range(4) for x in views(side)):
            sign = -1 if op.is_signed and i % 2 else 1
            rows.append(x)
            amounts.append(np.float32(sign * op.amount(MAGNITUDES[(i * 5 + i // 6) % 6])))
            places.append(((i * 0.37) % 1, (i * 0.61) % 1))
        x = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()
        scale, spots = np.array(amounts), np.array(places, np.float32)
        if name == "cutout":
            made = cutout(x, scale, spots)
        elif name in MOVES:
            made = move(x, [name] * len(rows), scale)
        else:
            made = LEVEL_OPS[name](x, scale)
        for i, row in enumerate(rows):
            expected = plain_ops.apply_op(row, number, float(scale[i]), tuple(spots[i].tolist()))
            np.testing.assert_array_equal(made[i].permute(1, 2, 0).numpy(), expected, str(i))


@pytest.mark.parametrize("grid", [2, 3, 5])
def test_tiles_of_many_views(grid: int) -> None:
    """Each view in its own order, to the bit, what a side leaves over included."""
    rng = np.random.default_rng(grid)
    x = torch.rand(5, 3, 17, 17, dtype=torch.float64)
    tiles = np.stack([rng.permutation(grid**2) for _ in range(5)]).astype(np.uint8)
    made = shuffle_tiles(x, tiles, grid)
    for i in range(5):
        expected = plain_ops.shuffle_tiles(x[i].permute(1, 2, 0).numpy(), tiles[i])
        np.testing.assert_array_equal(made[i].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", backends_on(CPU))
def test_a_heavy_view_is_made_of_what_the_backend_made(name: str, dtype: torch.dtype) -> None:
    """The reference's ops on the backend's own source give it to the bit; its source stays."""
    images = photographs()
    plan = draw(len(images), seed=3)
    backend = create_backend(name, CPU, dtype)
    tensors = [torch.from_numpy(image) for image in images]
    outs = backend(tensors, plan)
    before = [out.clone() for out in outs]
    made = heavy_views(outs, plan)
    assert made is not None
    assert plan.heavy is not None
    assert (made.shape, made.dtype) == (outs[0].shape, dtype)
    assert made.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(before, outs, strict=True))
    happened = (plan.heavy.ops > 0).any(axis=-1), plan.heavy.is_shuffled
    assert all(x.any() and not x.all() for x in happened)
    mean, std = (torch.tensor(x)[:, None, None] for x in (plan.mean, plan.std))
    for b in range(len(images)):
        for h in range(2):
            source = outs[0][h, b]
            if not happened[0][b, h]:
                moved = plain_ops.shuffle_tiles(
                    source.permute(1, 2, 0).float().numpy(), plan.heavy.tiles[b, h]
                )
                expected = torch.from_numpy(moved).permute(2, 0, 1)
            else:
                pixels = (source.float() * std + mean).permute(1, 2, 0).numpy()
                levels = make_heavy(pixels, plan.heavy, b, h)
                expected = (torch.from_numpy(levels).permute(2, 0, 1) - mean) / std
            assert torch.equal(made[h, b], expected.to(dtype)), (b, h)


@pytest.mark.parametrize("name", backends_on(CPU))
def test_a_backend_is_held_to_the_reference(name: str) -> None:
    """Whole way from the image: but for pixels between two levels it is what `render_heavy` says.

    A backend is within 1e-3 of the reference, so few pixels are rounded to another level; an op
    that looks at all levels (equalize) may then move many by one or two.
    """
    images = photographs()
    plan = draw(len(images), {"randaugment": {"num_ops": 1, "magnitude": 9}}, seed=1)
    backend = create_backend(name, CPU)
    outs = backend([torch.from_numpy(image) for image in images], plan)
    made = heavy_views(outs, plan)
    assert made is not None
    for b, image in enumerate(images):
        for h in range(2):
            difference = np.abs(made[h, b].numpy() - render_heavy(image, plan, b, h))
            assert np.median(difference) < 1e-3
            # A flipped bit of posterize or of solarize is half the range or more.
            assert (difference > 0.05).mean() < 0.01


def test_where_nothing_applies_the_heavy_view_is_its_source() -> None:
    """Chances of 0: every view to the bit, on the reference too."""
    images = photographs()[:2]
    plan = draw(2, {"randaugment": {"prob": 0}, "grid_shuffle": {"prob": 0}})
    outs = create_backend("fused", CPU)([torch.from_numpy(image) for image in images], plan)
    made = heavy_views(outs, plan)
    assert made is not None
    assert torch.equal(made, outs[0])
    np.testing.assert_array_equal(
        render_heavy(images[1], plan, 1, 1), render(images[1], plan, 1, 1)
    )


def test_pixels_become_the_nearest_levels() -> None:
    """An image of whole levels, uncropped and inverted twice, is itself."""
    (image,) = photographs()[:1]
    square = np.ascontiguousarray(image[:300, :300])
    plan = draw_plan(
        replace(load_policy("simsiam").with_views((1,), (300,))),
        np.array([0]), np.array([0]), np.array([[300, 300]]), 0,
    )  # fmt: skip
    invert = NAMES.index("invert")
    heavy = HeavyPlan(
        np.zeros(1), np.full((1, 1, 2), invert), np.zeros((1, 1, 2)), np.zeros((1, 1, 2, 2)),
        np.zeros((1, 1, 0)),
    )  # fmt: skip
    plan = replace(plan, heavy=heavy)
    x = (square / np.float32(255)).astype(np.float32)
    normal = torch.from_numpy(normalize(x, plan.mean, plan.std)).permute(2, 0, 1)
    for dtype, most in ((torch.float32, 1e-6), (torch.float16, 3e-3)):
        made = heavy_views([normal[None, None].to(dtype)], plan)
        assert made is not None
        assert (made[0, 0].float() - normal).abs().max() < most


def test_views_of_images_in_memory_have_them() -> None:
    """`make_views` gives what a loader gives; moving views moves them too."""
    image = photographs()[0]
    made = make_views([image, image], policy(RANDAUGMENT))
    assert made.heavy is not None
    assert made.heavy.shape == made.crops[0].shape
    assert not torch.equal(made.heavy, made.crops[0])
    moved = made.to(torch.device("meta")).heavy
    assert moved is not None
    assert moved.is_meta
    with pytest.raises(ValueError, match="heavy views come with their plan"):
        replace(made, heavy=None)
