"""MSF's loss against loops over squared distances."""

import pytest
import torch
from loss_checks import rows

from trainer.losses.cosine import pair_cosine, unit_rows
from trainer.losses.mean_shift import mean_shift_loss


@pytest.mark.parametrize(("num_views", "num"), [(1, 1), (1, 5), (4, 3)])
def test_it_is_the_mean_squared_distance(num_views: int, num: int) -> None:
    """Value and gradient equal the loops over views, images and neighbours."""
    p = rows(num_views, 3, 6).requires_grad_()
    neighbours = unit_rows(rows(3, num, 6, seed=1))
    distances = [
        (view[b] / view[b].norm() - row).square().sum()
        for view in p
        for b in range(3)
        for row in neighbours[b]
    ]
    loops, ours = torch.stack(distances).mean(), mean_shift_loss(p, neighbours)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(ours, p), torch.autograd.grad(loops, p)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_target_alone_is_byol() -> None:
    """With one neighbour, the target itself: 2 - 2 cos, a direction of BYOL's loss."""
    p, z = rows(2, 5, 6), unit_rows(rows(2, 5, 6, seed=1))
    both = (mean_shift_loss(p[:1], z[1][:, None]) + mean_shift_loss(p[1:], z[0][:, None])) / 2
    torch.testing.assert_close(both, 2 - 2 * pair_cosine(p, z))
