"""The kernel's width against the loss it follows, in numpy, and against torch's Adam."""

import numpy as np
import pytest
import torch

from trainer.losses.kernel_width import follow_slope, width_slope


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def width_loss(z: np.ndarray, c: float) -> float:
    """-mean log |dk / d(squared distance)|, the derivative taken by a difference."""
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    costs, h = [], 1e-5
    for a in u:
        for b in u:
            d2 = ((a - b) ** 2).sum()
            k = [c / np.sqrt(c**2 + x) for x in (d2 - h, d2 + h)]
            costs.append(-np.log(abs(k[1] - k[0]) / (2 * h)))
    return float(np.mean(costs))


@pytest.mark.parametrize("width", [0.3, 1.0, 4.0])
def test_slope_is_that_of_the_loss(width: float) -> None:
    """A difference of the loss in c, over all pairs, a row with itself among them."""
    z, h = 3 * rows(7, 5), 1e-4
    difference = (width_loss(z.numpy(), width + h) - width_loss(z.numpy(), width - h)) / (2 * h)
    ours = width_slope(z, torch.tensor(width, dtype=torch.float64))
    assert ours.item() == pytest.approx(difference, rel=1e-4, abs=1e-5)


def test_rows_at_right_angles_want_a_width_of_one() -> None:
    """Where the code starts: two slopes of different signs around it."""
    at = [width_slope(torch.eye(400), torch.tensor(c)).item() for c in (0.95, 1.0, 1.05)]
    assert at[0] < 0 < at[2]
    assert at[1] == pytest.approx(2 / 400, abs=1e-4)  # of rows with themselves: 3 - 1 at c = 1


def test_half_rows_are_computed_in_float32() -> None:
    """Also under autocast; and no gradient reaches the rows."""
    z, c = rows(6, 8).to(torch.bfloat16).requires_grad_(), torch.tensor(0.7)
    expected = width_slope(z.float(), c)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(width_slope(z, c), expected)
    assert not expected.requires_grad


def test_steps_are_those_of_adam() -> None:
    """Twenty steps of uneven slopes equal torch.optim.Adam's."""
    width, moments = torch.tensor(1.0, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    twin = width.clone().requires_grad_()
    adam = torch.optim.Adam([twin], lr=0.01)
    for slope in rows(20):
        follow_slope(width, moments, slope, 0.01)
        twin.grad = slope
        adam.step()
        torch.testing.assert_close(width, twin.detach(), rtol=1e-12, atol=1e-12)
    assert abs(width.item() - 1) > 0.01
