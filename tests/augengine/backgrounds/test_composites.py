"""Composed views are the reference's on every backend; a mask follows its image's plan."""

import numpy as np
import pytest
import torch
from masked_set import pictured

from augengine.backends.create_backend import create_backend
from augengine.backends.heavy_views import heavy_views
from augengine.backgrounds.composites import make_views
from augengine.backgrounds.meaning import replace_background
from augengine.draw import draw_plan
from augengine.plan import FILLED, Plan
from augengine.policies import load_policy, override_policy, parse_sizes, parse_views
from augengine.reference import Masked, render, render_heavy_of, render_of

CPU = torch.device("cpu")
Pairs = list[Masked]
# The whole of a square image, and nothing done to it.
OFF = dict.fromkeys(("flip", "jitter", "gray", "blur", "solarize"), 0.0)
WHOLE = {"scale": [1, 1], "ratio": [1, 1], **OFF}


def pairs_of(count: int) -> Pairs:
    return [pictured(number) for number in range(count)]


def plan_of(pairs: Pairs, sides: str = "24+12", **changes: object) -> Plan:
    policy = load_policy("swav").with_views(parse_views("2+2"), parse_sizes(sides))
    policy = override_policy(policy, changes)
    ids, sizes = np.arange(len(pairs)), np.array([image.shape[:2] for image, _ in pairs])
    return draw_plan(policy, ids, ids * 0, sizes, 5, np.ones(len(ids), bool))


def made(name: str, pairs: Pairs, plan: Plan) -> list[list[np.ndarray]]:
    """By view, then image."""
    images, masks = (list(map(torch.from_numpy, x)) for x in zip(*pairs, strict=True))
    outs = make_views(create_backend(name, CPU), images, plan, masks)
    return [list(view.numpy()) for out in outs for view in out]


@pytest.mark.parametrize("kind", ["remove", "random", "swap"])
@pytest.mark.parametrize("name", ["fused", "kornia", "dali"])
def test_every_backend_gives_the_views_of_the_reference(name: str, kind: str) -> None:
    """Flips, turns, colours, blur and all: within a level on average, of normalised pixels."""
    if name == "dali":
        pytest.importorskip("nvidia.dali")
    pairs = pairs_of(6)
    fill = {"fill": "color"} if kind == "remove" else {}
    background = {"prob": 0.6, "kind": kind, **fill}
    plan = plan_of(pairs, background=background, vflip=0.5, rotate90=0.5)
    assert plan.background.any()
    views = made(name, pairs, plan)
    errors = [
        np.abs(views[v][b] - render_of(pairs, plan, b, v)).mean()
        for v in range(plan.num_views)
        for b in range(6)
    ]
    assert max(errors) < 0.02
    # What the error would be, were the backgrounds kept.
    kept = made(name, pairs, plan_of(pairs, vflip=0.5, rotate90=0.5))
    changed = np.argwhere(plan.background.T > 0).tolist()
    assert np.mean([np.abs(views[v][b] - kept[v][b]).mean() for v, b in changed]) > 0.2


@pytest.mark.parametrize("name", ["fused", "kornia"])
def test_heavy_views_have_the_background_of_their_source(name: str) -> None:
    """Made of the composed view, as the reference says; not of the one that was there before."""
    pairs, heavy = pairs_of(6), {"grid_shuffle": {"grid": 2, "prob": 1}}
    plan = plan_of(pairs, background={"prob": 0.6, "kind": "swap"}, heavy=heavy)
    assert plan.heavy is not None
    images, masks = (list(map(torch.from_numpy, x)) for x in zip(*pairs, strict=True))
    backend = create_backend(name, CPU)
    views = heavy_views(make_views(backend, images, plan, masks), plan)
    without = heavy_views(backend(images, plan), plan)
    assert views is not None
    assert without is not None
    changed = plan.background.T[plan.heavy.source] > 0
    assert changed.any()
    kept = []
    for h, b in np.ndindex(changed.shape):
        expected = torch.from_numpy(render_heavy_of(pairs, plan, b, h))
        assert float((views[h, b] - expected).abs().mean()) < 0.02
        kept += [float((without[h, b] - expected).abs().mean())] if changed[h, b] else []
    assert np.mean(kept) > 0.2  # what the error would be, were the backgrounds kept


def test_views_that_keep_their_background_are_not_touched() -> None:
    """Bit for bit those of the plan without backgrounds."""
    pairs = pairs_of(8)
    plan = plan_of(pairs, background={"prob": 0.5, "kind": "swap"})
    views, plain = made("fused", pairs, plan), made("fused", pairs, plan_of(pairs))
    for v, b in np.argwhere(plan.background.T == 0).tolist():
        np.testing.assert_array_equal(views[v][b], plain[v][b])


def test_an_image_equal_to_its_own_mask_stays_so() -> None:
    """White on black with its background removed to black: the views are the same, bit for bit."""
    masks = [mask for _, mask in pairs_of(8)]
    pairs = [(np.repeat(mask[..., None], 3, axis=2), mask) for mask in masks]
    changes = {"vflip": 0.5, "rotate90": 0.5}
    plain = made("fused", pairs, plan_of(pairs, **changes))
    plan = plan_of(pairs, **changes, background={"prob": 1})
    assert (plan.background == FILLED).all()
    for views, others in zip(made("fused", pairs, plan), plain, strict=True):
        np.testing.assert_array_equal(views, others)


@pytest.mark.parametrize("kind", ["remove", "random"])
def test_the_foreground_keeps_its_pixels_and_the_background_none(kind: str) -> None:
    """At the image's own size, without colours, each pixel of the foreground is bit-equal."""
    pairs = [(image[:40, :40].copy(), mask[:40, :40].copy()) for image, mask in pairs_of(5)]
    plain = made("fused", pairs, plan_of(pairs, "40+12", **WHOLE))
    fill = {"fill": 77} if kind == "remove" else {}
    plan = plan_of(pairs, "40+12", **WHOLE, background={"prob": 1, "kind": kind, **fill})
    assert (plan.window[:, 0] == (0, 0, 40, 40)).all()
    views = made("fused", pairs, plan)
    mean, std = (np.array(values)[:, None] for values in (plan.mean, plan.std))
    for b, (_, mask) in enumerate(pairs):
        inside = mask == 255
        before, after = plain[0][b], views[0][b]
        np.testing.assert_array_equal(before[:, inside], after[:, inside])
        if kind == "remove":
            np.testing.assert_allclose(after[:, ~inside] * std + mean, 77 / 255, atol=1e-5)
        assert (before[:, ~inside] != after[:, ~inside]).mean() > 0.8


def test_composing_before_the_crop_is_composing_the_window() -> None:
    """The view is that of the whole image composed first, to the letter."""
    pairs = pairs_of(6)
    plan = plan_of(pairs, background={"prob": 1, "fill": [200, 0, 90]})
    views = made("fused", pairs, plan)
    whole = [
        (replace_background(image, mask, np.broadcast_to(plan.fill[b, 0], image.shape)), mask)
        for b, (image, mask) in enumerate(pairs)
    ]
    np.testing.assert_array_equal(np.array(views[0]), made("fused", whole, plan_of(pairs))[0])


def test_a_donor_of_nothing_but_foreground_is_black() -> None:
    """No background to take: no division by none."""
    pairs = pairs_of(2)
    pairs[1] = pairs[1][0], np.full_like(pairs[1][1], 255)
    plan = plan_of(pairs, background={"prob": 1, "kind": "swap"})
    views = made("fused", pairs, plan)
    black = render(
        replace_background(pairs[0][0], pairs[0][1], np.zeros_like(pairs[0][0])),
        plan_of(pairs),
        0,
        0,
    )
    assert np.abs(views[0][0] - black).mean() < 0.02
