"""A plan: checked when made, saved and read back equal, digests that mean something."""

from dataclasses import fields, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from augengine.draw import draw_plan
from augengine.plan import ORDERS, Plan
from augengine.policies import load_policy
from shards.errors import DataError


@pytest.fixture
def plan() -> Plan:
    return draw_plan(load_policy("byol"), np.arange(5), np.zeros(5), np.full((5, 2), 90), seed=1)


def changed(plan: Plan, name: str, index: tuple[int, ...], value: float) -> Plan:
    array = getattr(plan, name).copy()
    array[index] = value
    return replace(plan, **{name: array})


def test_orders_are_all_permutations() -> None:
    """ORDERS has each of the 24 sequences once; row 0 is brightness, contrast, saturation, hue."""
    assert {tuple(row) for row in ORDERS.tolist()} == set(permutations(range(4)))
    assert ORDERS[0].tolist() == [0, 1, 2, 3]


def test_arrays_are_converted(plan: Plan) -> None:
    """Any number type goes in; the documented type comes out, contiguous."""
    other = replace(plan, ids=plan.ids.tolist(), window=np.asfortranarray(plan.window, np.float64))
    assert other.ids.dtype == np.int64
    assert other.window.dtype == np.int32
    assert other.window.flags.c_contiguous
    assert other.digest() == plan.digest()


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [("window", (2, 3, 0), -1, r"window lies inside its image, got \[-1.*sample 2, view 3"),
     ("window", (0, 0, 2), 0, "window lies"), ("window", (0, 0, 2), 91, "window lies"),
     ("window", (0, 0, 3), 0, "window lies"), ("window", (0, 0, 3), 91, "window lies"),
     ("window", (0, 0, 1), -1, "window lies"),
     ("kernel_px", (0,), 4, "odd number of taps"), ("kernel_px", (2,), 2 * 96 + 1, "taps"),
     ("size_px", (0,), 0, "side is 1 to 4096"), ("size_px", (1,), 10**9, "side is 1 to 4096"),
     ("kernel_px", (0,), -3, "taps"), ("order", (0, 0), 24, "an order is 0 to 23, got 24"),
     ("group", (0,), 1, "sorted by crop group")],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(
    plan: Plan, name: str, index: tuple[int, ...], value: float, message: str
) -> None:
    """Windows outside the image, even kernels, unknown orders and mixed groups are named."""
    with pytest.raises(ValueError, match=message):
        changed(plan, name, index, value)


# All but flip, whose shape says what B and V are, and mean, std and heavy.
@pytest.mark.parametrize("name", [f.name for f in fields(Plan) if f.name != "flip"][:-3])
def test_a_wrong_shape_is_refused(plan: Plan, name: str) -> None:
    """Every array's shape is checked by name."""
    with pytest.raises(ValueError, match=f"plan.{name} must have shape"):
        replace(plan, **{name: getattr(plan, name)[:-1]})


def test_save_and_load_are_inverse(plan: Plan, tmp_path: Path) -> None:
    """A plan read back equals the one saved, array for array."""
    plan.save(tmp_path / "a.plan")
    again = Plan.load(tmp_path / "a.plan")
    assert again.digest() == plan.digest()
    for field in fields(Plan):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(plan, field.name))
    assert isinstance(again.mean[0], float)


def test_only_plans_are_loaded(plan: Plan, tmp_path: Path) -> None:
    """Another version, another npz and a file that is none raise DataError with the path."""
    plan.save(tmp_path / "plan.npz")
    with np.load(tmp_path / "plan.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "future.npz", **(arrays | {"version": np.int64(2)}))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("no plan")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "plan.npz").read_bytes()[:300])
    (tmp_path / "empty.npz").touch()
    with open(tmp_path / "array.npz", "wb") as file:
        np.save(file, np.zeros(3))
    for name in ("future", "other", "text", "torn", "empty", "array", "missing"):
        with pytest.raises(DataError, match=f"{name}.npz"):
            Plan.load(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [("ids", (0,), 99), ("flip", (1, 1), 2), ("hue", (1, 1), 0.25), ("solarize", (0, 0), 0.25),
     ("kernel_px", (0,), 1), ("bicubic", (0,), 0)],
)  # fmt: skip
def test_digest_sees_every_change(
    plan: Plan, name: str, index: tuple[int, ...], value: float
) -> None:
    """One changed number is another digest."""
    plan = changed(plan, "flip", (1, 1), 0)
    assert changed(plan, name, index, value).digest() != plan.digest()
    assert replace(plan, mean=(0.0, 0.0, 0.0)).digest() != plan.digest()


def test_rows_choose_images(plan: Plan) -> None:
    """Rows give the plan of these images in this order, and keep what is per view."""
    part = plan.rows(np.array([3, 1]))
    assert part.ids.tolist() == [3, 1]
    np.testing.assert_array_equal(part.window, plan.window[[3, 1]])
    assert part.groups == plan.groups == ((0, 1), (2, 3, 4, 5, 6, 7))
    assert plan.rows(slice(0, 2)).batch_size == 2


def test_repr_shows_the_shape(plan: Plan) -> None:
    """Printing a plan says how many images and views of which size."""
    assert repr(plan).startswith("Plan(B=5, V=8: 2x224px+6x96px, ")
