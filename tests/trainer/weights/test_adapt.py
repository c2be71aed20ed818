"""Tensors made to fit say what they said: exactly where that is possible."""

import pytest
import torch
from torch.nn import functional as F

from trainer.weights.adapt import adapt, with_channels, with_grid, with_patch

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("side", [14, 16, 32])
def test_a_larger_patch_gives_what_the_patch_gave(side: int) -> None:
    """The filter on an enlarged patch is the former one on the patch (FlexiViT)."""
    filters = torch.randn(5, 3, 8, 8, generator=GENERATOR)
    patches = torch.randn(4, 3, 8, 8, generator=GENERATOR)
    size = (side, side)
    large = F.interpolate(patches, size, mode="bicubic", antialias=True, align_corners=False)
    before = torch.einsum("fcij,ncij->nf", filters, patches)
    after = torch.einsum("fcij,ncij->nf", with_patch(filters, side), large)
    assert torch.allclose(before, after, atol=1e-4)


def test_a_smaller_patch_gives_nearly_that() -> None:
    """Of a smooth patch: what was lost in shrinking cannot be had."""
    filters = F.interpolate(torch.randn(5, 3, 4, 4, generator=GENERATOR), (16, 16), mode="bicubic")
    patches = F.interpolate(torch.randn(4, 3, 4, 4, generator=GENERATOR), (16, 16), mode="bicubic")
    small = F.interpolate(patches, (8, 8), mode="bicubic", antialias=True, align_corners=False)
    before = torch.einsum("fcij,ncij->nf", filters, patches)
    after = torch.einsum("fcij,ncij->nf", with_patch(filters, 8), small)
    assert (before - after).norm() < 0.1 * before.norm()


def test_positions_keep_their_places() -> None:
    """A table that rises along a row still does, its middle stays, and the class token's too."""
    ramp = torch.arange(4.0).expand(4, 4).reshape(1, 16, 1)
    table = torch.cat([torch.full((1, 1, 1), 9.0), ramp], dim=1)
    grown = with_grid(table, 1, 8)
    assert grown.shape == (1, 65, 1)
    assert grown[0, 0] == 9
    rows = grown[0, 1:].reshape(8, 8)
    assert torch.allclose(rows[0], rows[7], atol=1e-5)
    assert bool((rows[0].diff() > 0).all())
    assert torch.allclose(rows.mean(), torch.tensor(1.5), atol=1e-5)


@pytest.mark.parametrize(("own", "channels"), [(3, 1), (3, 2), (3, 3), (3, 4), (3, 6), (1, 3)])
def test_equal_channels_give_what_they_gave(own: int, channels: int) -> None:
    """An image that is alike in all channels has the same response before and after."""
    filters = torch.rand(2, 1, 3, 3, generator=GENERATOR).expand(2, own, 3, 3)
    made = with_channels(filters, channels)
    assert made.shape == (2, channels, 3, 3)
    assert torch.allclose(made.sum(1), filters.sum(1))


def test_what_cannot_be_made_to_fit_is_left() -> None:
    """Another width, a tensor that is no first layer, a kernel that is no patch."""
    square = torch.zeros(4, 3, 7, 7)
    assert adapt("conv1.weight", square, torch.Size((8, 3, 7, 7))) is None
    assert adapt("layer1.0.conv1.weight", square, torch.Size((4, 1, 7, 7))) is None
    assert adapt("conv1.weight", square, torch.Size((4, 3, 3, 3))) is None
    assert adapt("pos_embed", torch.zeros(1, 5, 6), torch.Size((1, 5, 7))) is None
    made = adapt("conv1.weight", square, torch.Size((4, 1, 7, 7)))
    assert made is not None
    assert made[1] == "3 channels to 1"
