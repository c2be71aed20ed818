"""Backgrounds are drawn by id, epoch and view; whose, among the images of the batch with a mask."""

from typing import Any

import numpy as np
import pytest

from augengine.backgrounds.donors import random_donors, swap_donors
from augengine.draw import draw_plan
from augengine.plan import FILLED, KEPT, PASTED, Plan
from augengine.policies import load_policy, override_policy
from augengine.policy import Policy
from augengine.policy_file import group_values, read_group
from shards.errors import UsageError


def policy_of(**background: Any) -> Policy:
    return override_policy(load_policy("swav"), {"background": background or None})


def draw(ids: np.ndarray, has_mask: np.ndarray | None = None, **background: Any) -> Plan:
    sizes = np.full((len(ids), 2), 300)
    has_mask = np.ones(len(ids), bool) if has_mask is None else has_mask
    return draw_plan(policy_of(**background), ids, ids % 3, sizes, 7, has_mask)


@pytest.mark.parametrize("kind", ["remove", "random", "swap"])
def test_the_draw_is_as_likely_as_stated(kind: str) -> None:
    """A view's background changes with the policy's probability; every other field stays."""
    plan, off = draw(np.arange(3000), prob=0.3, kind=kind), draw(np.arange(3000))
    assert abs((plan.background != KEPT).mean() - 0.3) < 0.012
    assert set(np.unique(plan.background)) == {KEPT, FILLED if kind == "remove" else PASTED}
    for name in ("window", "flip", "hue", "order", "gray", "sigma", "brightness"):
        np.testing.assert_array_equal(getattr(plan, name), getattr(off, name))
    assert (off.version, plan.version) == (1, 3)


def test_a_filled_view_is_the_same_in_any_batch() -> None:
    """Rows of half the batch are those of the whole one."""
    ids = np.arange(40)
    whole, half = (draw(rows, prob=0.5, fill="color") for rows in (ids, ids[::2]))
    assert whole.rows(slice(0, None, 2)).digest() == half.digest()


def test_fills_are_what_the_policy_says() -> None:
    """A level is gray, three are a colour; drawn gray has equal channels, drawn colours not."""
    for fill, expected in ((9, (9, 9, 9)), ([1, 2, 3], (1, 2, 3))):
        plan = draw(np.arange(5), prob=1, fill=fill)
        assert (plan.fill == expected).all()
    gray, color = (draw(np.arange(50), prob=1, fill=fill).fill for fill in ("gray", "color"))
    assert (gray == gray[..., :1]).all()
    assert len(np.unique(gray)) > 150
    assert (color[..., 0] != color[..., 1]).mean() > 0.9


def test_random_donors_are_others_all_as_likely() -> None:
    """Of four images each gets each of the three others as often, and never itself."""
    rng = np.random.default_rng(0)
    counts = np.zeros((4, 4))
    for _ in range(3000):
        donors = random_donors(np.ones(4, bool), rng.uniform(size=4))
        counts[np.arange(4), donors] += 1
    assert np.diag(counts).sum() == 0
    np.testing.assert_allclose(counts[~np.eye(4, dtype=bool)] / 3000, 1 / 3, atol=0.04)
    assert random_donors(np.ones(1, bool), np.zeros(1)).tolist() == [-1]


def test_swapped_images_have_each_others_background() -> None:
    """Partners are mutual; of an odd number one keeps its own."""
    plan = draw(np.arange(31), prob=1, kind="swap")
    for v in range(plan.num_views):
        pasted = plan.background[:, v] == PASTED
        assert pasted.sum() == 30
        donors = plan.donor[pasted, v]
        np.testing.assert_array_equal(plan.donor[donors, v], np.flatnonzero(pasted))
    assert (swap_donors(np.zeros(6, bool), np.linspace(0, 0.9, 6)) == -1).all()


def test_an_image_without_mask_keeps_its_background_and_gives_none() -> None:
    """Neither kind touches it."""
    has_mask = np.arange(30) % 3 > 0
    for kind in ("remove", "random", "swap"):
        plan = draw(np.arange(30), has_mask, prob=1, kind=kind)
        assert not plan.background[~has_mask].any()
        assert plan.background[has_mask].all()
        if kind != "remove":
            assert has_mask[plan.donor[has_mask]].all()


def test_nothing_known_of_masks_is_refused() -> None:
    """Before a view is made without what the policy says."""
    ids = np.arange(3)
    with pytest.raises(UsageError, match="told from the foreground by masks"):
        draw_plan(policy_of(prob=0.5), ids, ids, np.full((3, 2), 300), 0)


def test_a_plan_with_backgrounds_is_kept(tmp_path) -> None:
    """Saved as version 3, read back equal, cut to rows."""
    plan = draw(np.arange(6), prob=0.5, kind="swap")
    plan.save(tmp_path / "plan.npz")
    assert np.load(tmp_path / "plan.npz")["version"] == 3
    read = Plan.load(tmp_path / "plan.npz")
    assert read.digest() == plan.digest() != draw(np.arange(6)).digest()
    np.testing.assert_array_equal(read.rows(slice(2, 5)).donor, plan.donor[2:5])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "remove"}, "needs prob"),
        ({"prob": 2}, "background prob is a probability"),
        ({"prob": 0.5, "kind": "swop"}, "background kind is one of remove, random, swap"),
        ({"prob": 0.5, "fill": "grey"}, "background fill is gray, color, a level"),
        ({"prob": 0.5, "fill": [1, 2]}, "fill is gray, color, a level"),
        ({"prob": 0.5, "fill": 256}, "background fill is"),
        ({"prob": 0.5, "kind": "swap", "fill": "gray"}, "fill is for kind remove"),
        ({"probability": 0.5}, "unknown key 'probability' in background"),
        (0.5, "background is a mapping with keys prob, kind, fill"),
    ],
)
def test_a_wrong_policy_is_refused(values: object, message: str) -> None:
    """In one line that names the key."""
    with pytest.raises(UsageError, match=message):
        override_policy(load_policy("swav"), {"background": values})


@pytest.mark.parametrize("background", [{"prob": 0.2, "kind": "swap"}, {"prob": 1, "fill": 3}])
def test_a_policy_comes_back_from_what_it_writes(background: dict[str, Any]) -> None:
    """And one without the key writes none, as before there was one."""
    group = policy_of(**background).groups[0]
    assert read_group(group_values(group), {}) == group
    assert "background" not in group_values(policy_of().groups[0])["views"][0]
    assert policy_of(**background).without_backgrounds() == policy_of()
