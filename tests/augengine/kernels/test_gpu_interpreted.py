"""The GPU kernels in Triton's interpreter against the reference: every op, shape and policy.

Interpreted, a kernel's arithmetic and addresses are tested; how threads share memory, and the
rounding of a GPU's own instructions, are not: tests/augengine/kernels/test_gpu_fused.py needs one.
"""

from pathlib import Path
from typing import Any

import pytest
from kept_output import output_of
from tolerances import BOUNDS, FLOAT16, FLOAT32, THRESHOLD, Bound

pytest.importorskip("triton", reason="Triton is there on Linux only")
SCRIPT = Path(__file__).with_name("gpu_interpreted.py")
# The interpreter cuts a float32 to a bfloat16 where a GPU rounds it: twice the error of rounding.
HALF_STEPS = {"torch.float16": 2**-11, "torch.bfloat16": 2**-7}
# A packed pixel between launches is off by 2.4e-7, and sums of float32 by as much.
NEARLY = 1e-6
SMALLEST_STD = 0.2  # of the script's plans


BOUND = {"float32": FLOAT32, "float16": FLOAT16}
each_form = pytest.mark.parametrize("views", BOUND)


def interpreted(*names: str, views: str = "float32") -> dict[str, Any]:
    """What the checks of these names find where kernels are interpreted."""
    found = output_of(SCRIPT, *names, TRITON_INTERPRET="1", VIEWS=views)
    assert set(found) == set(names)
    return found


def assert_close(found: list[float], bound: Bound, where: str) -> None:
    mean, largest = found
    assert mean <= bound.mean, where
    assert largest <= bound.max, where


@pytest.mark.slow
@each_form
def test_each_op_and_order_is_the_reference(views: str) -> None:
    """Every op alone, some together, and the four colour ops in all their orders."""
    found = interpreted("ops", "orders", views=views)
    assert len(found["ops"]) > len(set(BOUNDS))
    for name, errors in found["ops"].items():
        solarized = views == "float16" and name == "solarize"
        assert_close(errors, THRESHOLD if solarized else BOUND[views], name)
    assert_close(found["orders"], BOUND[views], "orders")


@pytest.mark.slow
@each_form
@pytest.mark.parametrize("names", [("shapes", "windows"), ("large", "blurs")])
def test_odd_shapes_windows_and_blurs(names: tuple[str, ...], views: str) -> None:
    """Images from one pixel to 6000 x 4000, windows at every border, blurs as wide as a view."""
    for name, errors in interpreted(*names, views=views).items():
        assert_close(errors, BOUND[views], name)


@pytest.mark.slow
@each_form
def test_published_policies(views: str) -> None:
    """Drawn plans of every published policy; and the blocks of rows that a GPU makes at once."""
    found = interpreted("policies", "blocks", views=views)
    bound = FLOAT32 if views == "float32" else Bound(FLOAT16.mean, THRESHOLD.max)
    for name, errors in found["policies"].items():
        assert_close(errors, bound, name)
    assert_close(found["blocks"], BOUND[views], "blocks")


@pytest.mark.slow
def test_bits() -> None:
    """16-bit views, and values that are known."""
    found = interpreted("halves", "levels")
    between = FLOAT16.max / 255 / SMALLEST_STD
    for dtype, (exact, half) in found["halves"].items():
        assert exact <= HALF_STEPS[dtype] + NEARLY, dtype
        assert half <= HALF_STEPS[dtype] + between, dtype
    levels = found["levels"]
    assert levels["identity"] < 2e-7
    assert levels["black beside white"] == 0
    assert levels["tint of gray"] == 0
    assert levels["solarized"] < 255 * NEARLY


@pytest.mark.slow
@each_form
def test_a_batch_and_its_pieces(views: str) -> None:
    """The same bits in any batch, and in pieces for want of scratch."""
    assert interpreted("batches", views=views)["batches"]
