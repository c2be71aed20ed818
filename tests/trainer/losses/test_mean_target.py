"""FastSiam's loss against a float64 loop over views."""

import pytest
import torch

from trainer.losses.cosine import simsiam_loss
from trainer.losses.mean_target import mean_target_loss


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("num_views", "num_targets"), [(4, 4), (2, 2), (8, 2), (5, 3)])
def test_every_view_predicts_the_mean_of_the_others(num_views: int, num_targets: int) -> None:
    """Value and gradient equal a loop: one mean a view, of the global views but itself."""
    p = rows(num_views, 5, 7).requires_grad_()
    z = rows(num_targets, 5, 7, seed=1)
    cosines = []
    for v in range(num_views):
        for b in range(5):
            others = [z[g, b] for g in range(num_targets) if g != v]
            mean = sum(others[1:], others[0]) / len(others)
            cosines.append((p[v, b] @ mean) / (p[v, b].norm() * mean.norm()))
    naive, ours = -torch.stack(cosines).mean(), mean_target_loss(p, z)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, p), torch.autograd.grad(naive, p)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_two_views_are_simsiam() -> None:
    """The mean of one other view is that view; of three it is another loss."""
    p, z = rows(4, 6, 9), rows(4, 6, 9, seed=1)
    torch.testing.assert_close(mean_target_loss(p[:2], z[:2]), simsiam_loss(p[:2], z[:2]))
    assert not torch.allclose(mean_target_loss(p, z), simsiam_loss(p, z))


def test_one_value() -> None:
    """Targets are averaged as they are, of any length: (3, 0) and (0, 4) have the mean (3, 4) / 2.

    The third view predicts (1, 0): 0.6. The others say (0, 0), of no direction: 0.
    """
    z = torch.tensor([[[3.0, 0.0]], [[0.0, 4.0]], [[1.0, 1.0]]])
    p = torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]]])
    assert mean_target_loss(p, z).item() == pytest.approx(-0.6 / 3)


def test_half_inputs_are_computed_in_float32() -> None:
    """Under autocast too."""
    p, z = rows(4, 8, 16).to(torch.bfloat16), rows(4, 8, 16, seed=1).to(torch.bfloat16)
    expected = mean_target_loss(p.float(), z.float())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(mean_target_loss(p, z), expected, rtol=1e-6, atol=1e-6)
