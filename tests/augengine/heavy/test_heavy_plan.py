"""Heavy views are drawn as the policy says, apart from all else, and kept in a plan."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augengine.draw import draw_plan
from augengine.heavy.heavy_ops import NAMES, OPS
from augengine.plan import Plan
from augengine.policies import load_policy, override_policy
from augengine.policy import Policy
from shards.errors import DataError, UsageError

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
    """Of images of the photographs' size."""
    ids = np.arange(num_images)
    return draw_plan(policy(heavy), ids, ids * 0, np.full((num_images, 2), (300, 310)), seed)


def test_draws_are_apart_from_all_others() -> None:
    """With heavy views a plan is otherwise the same; without it has its old digest."""
    on, off = draw(40), draw(40, None)
    assert off.heavy is None
    assert on.digest() != off.digest() == replace(on, heavy=None).digest()
    for name in ("window", "flip", "hue", "order", "gray", "sigma", "brightness"):
        np.testing.assert_array_equal(getattr(on, name), getattr(off, name))


def test_a_heavy_view_depends_on_its_source_alone() -> None:
    """Batch, number of views and other groups change none; a chance moves no op and no amount."""
    plan, heavy = draw(40), draw(40).heavy
    assert heavy is not None
    assert (
        plan.rows(np.array([7, 3])).digest()
        == draw_plan(
            policy(), np.array([7, 3]), np.zeros(2, int), np.full((2, 2), (300, 310)), 0
        ).digest()
    )
    ids = np.arange(40)
    more = draw_plan(policy().with_views((2,)), ids, ids * 0, np.full((40, 2), (300, 310)), 0).heavy
    always = draw(40, {"randaugment": {"num_ops": 3, "prob": 1}}).heavy
    assert more is not None
    assert always is not None
    on = heavy.ops.any(-1)
    assert on.any()
    assert not on.all()
    for name in ("ops", "amounts", "places", "tiles"):
        np.testing.assert_array_equal(getattr(heavy, name), getattr(more, name))
        if name != "tiles":
            np.testing.assert_array_equal(getattr(heavy, name)[on], getattr(always, name)[on])


def test_the_draw_is_as_likely_as_stated() -> None:
    """RandAugment 0.6, tiles 0.25, never both; any op, sign and order of tiles."""
    heavy = draw(6000).heavy  # 12,000 views
    assert heavy is not None
    on, shuffled = heavy.ops.any(-1), heavy.is_shuffled
    assert abs(on.mean() - 0.6) < 0.015
    assert abs(shuffled.mean() - 0.25) < 0.015
    assert not (on & shuffled).any()
    shares = np.bincount(heavy.ops[on].ravel(), minlength=17) / heavy.ops[on].size
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], 1 / 16, atol=0.007)
    # With replacement: the first op tells nothing of the second.
    assert abs((heavy.ops[on][:, 0] == heavy.ops[on][:, 1]).mean() - 1 / 16) < 0.012
    for name, op in OPS.items():
        amounts = heavy.amounts[heavy.ops == NAMES.index(name)]
        np.testing.assert_allclose(np.abs(amounts), op.amount(9), rtol=1e-6)
        assert abs((amounts < 0).mean() - (0.5 if op.is_signed else 0)) < 0.06
    places = heavy.places[heavy.ops == NAMES.index("cutout")]
    assert abs(places.mean() - 0.5) < 0.03
    assert not heavy.places[heavy.ops != NAMES.index("cutout")].any()
    first = np.bincount(heavy.tiles[shuffled][:, 0], minlength=16) / shuffled.sum()
    np.testing.assert_allclose(first, 1 / 16, atol=0.02)


def test_a_plan_with_heavy_views_is_kept(tmp_path: Path) -> None:
    """Read back equal, turned or not; without heavy views a file has no array of any."""
    turned = replace(draw(5), quarter_turns=np.ones(draw(5).flip.shape))
    for plan in (draw(5, None), draw(5), turned):
        plan.save(tmp_path / "plan.npz")
        names = np.load(tmp_path / "plan.npz").files
        assert any("heavy" in name for name in names) is (plan.heavy is not None)
        read = Plan.load(tmp_path / "plan.npz")
        assert read.digest() == plan.digest()
        assert read.rows(slice(1, 3)).digest() == plan.rows(slice(1, 3)).digest()


@pytest.mark.parametrize(
    ("heavy", "message"),
    [
        ({}, "heavy: heavy has randaugment or grid_shuffle; write heavy: null for none, got None"),
        ({"randaugment": None}, "heavy has randaugment or grid_shuffle"),
        ({"randaug": {}}, "heavy: unknown key 'randaug' in heavy, did you mean 'randaugment'"),
        ({"randaugment": {"n": 2}}, "unknown key 'n' in randaugment"),
        ({"randaugment": {"num_ops": 0}}, "heavy: randaugment: num_ops is 1 to 16, got 0"),
        ({"randaugment": {"num_ops": 2.5}}, "num_ops is a whole number, got 2.5"),
        ({"randaugment": {"magnitude": 31}}, "magnitude is 0 to 30, got 31"),
        ({"randaugment": {"prob": -0.1}}, r"prob is a probability in \[0, 1\], got -0.1"),
        ({"randaugment": 9}, "randaugment is a mapping with keys num_ops, magnitude, prob, got 9"),
        ({"grid_shuffle": {"grid": 1}}, "grid_shuffle: grid is 2 to 16 tiles a side, got 1"),
        ({"grid_shuffle": {"prob": "often"}}, "prob is a number, got 'often'"),
        ({"randaugment": {}, "grid_shuffle": {"prob": 0.1}}, "one choice and add up to at most 1"),
        ("randaugment", "heavy is a mapping with keys randaugment, grid_shuffle, got 'randaug"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(heavy: object, message: str) -> None:
    """In one line that names the place, as in a file."""
    with pytest.raises(UsageError, match=message):
        policy(heavy)


def test_a_tile_has_a_pixel() -> None:
    """A grid finer than the views is refused when they are drawn."""
    fine = policy({"grid_shuffle": {"grid": 16, "prob": 0.1}}, side=15)
    with pytest.raises(UsageError, match="got a grid of 16 on views of 15 px; lower"):
        draw_plan(fine, np.zeros(1, int), np.zeros(1, int), np.full((1, 2), 30), 0)


def test_chances_that_are_nine_tenths_and_one_are_one_choice() -> None:
    """Sums of floats that are 1 but for their last bit are no mistake."""
    for first in range(11):
        heavy = {
            "randaugment": {"prob": first / 10},
            "grid_shuffle": {"prob": 1 - first / 10 + 1e-16},
        }
        assert policy(heavy).heavy is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": np.array([0, 2])}, "of its views \\[0, 1\\], got 4 and \\[0, 2\\]"),
        ({"ops": np.full((4, 2, 3), 17)}, "an op is 0 to 16, got 17"),
        ({"amounts": np.full((4, 2, 3), np.nan)}, "must be finite"),
        ({"amounts": np.zeros((4, 2, 2))}, "heavy.amounts must have shape"),
        ({"tiles": np.zeros((4, 2, 4))}, "orders of a square grid"),
        ({"tiles": np.zeros((4, 2, 3)) + np.arange(3)}, "orders of a square grid, got 3 tiles"),
    ],
)  # fmt: skip
def test_a_plan_is_checked(changes: dict[str, np.ndarray], message: str) -> None:
    """What no policy draws is refused, from a file too."""
    plan = draw(4)
    assert plan.heavy is not None
    with pytest.raises(ValueError, match=message):
        replace(plan, heavy=replace(plan.heavy, **changes))
    with pytest.raises(ValueError, match="of the plan's 4 images"):
        replace(plan, heavy=plan.heavy.rows(slice(0, 3)))


def test_a_file_says_it(tmp_path: Path) -> None:
    """Under the key `heavy`, DSSL's numbers where it says none; a change replaces it."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "heavy: {randaugment: {prob: 0.9}, grid_shuffle: {prob: 0.1}}\n"
        "groups:\n- {count: 2, size_px: 8, views: [{scale: [0.1, 1]}]}\n"
    )
    heavy = load_policy(path).heavy
    assert heavy is not None
    assert heavy.values == {
        "randaugment": {"num_ops": 2, "magnitude": 9.0, "prob": 0.9},
        "grid_shuffle": {"grid": 4, "prob": 0.1},
    }
    assert override_policy(load_policy(path), {"heavy": heavy.values}).heavy == heavy
    assert override_policy(load_policy(path), {"heavy": None}).heavy is None
    assert override_policy(load_policy(path), {"blur": 0.0}).heavy == heavy


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """In one line: an op that is not there, an array of another type, one that is missing."""
    draw(5).save(tmp_path / "plan.npz")
    arrays = dict(np.load(tmp_path / "plan.npz"))
    ops = arrays["heavy_ops"]
    without = {name: array for name, array in arrays.items() if name != "heavy_ops"}
    for changed, message in (
        (without | {"heavy_ops": ops * 0 + np.uint8(99)}, "an op is 0 to 16, got 99"),
        (without | {"heavy_ops": ops.astype(np.int64)}, "heavy_ops must be uint8"),
        (without, "it must hold"),
    ):
        np.savez(tmp_path / "bad.npz", **changed)
        with pytest.raises(DataError, match=message):
            Plan.load(tmp_path / "bad.npz")
