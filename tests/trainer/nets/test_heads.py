"""Heads as the papers' cards describe them."""

import math

import pytest
import torch
from torch import nn

from trainer.nets.batchnorm import BatchNorm1d
from trainer.nets.heads import WeightNormLinear, mlp


def kinds(head: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in head]


def test_byol_form() -> None:
    """Linear with bias, BN, ReLU, Linear without bias."""
    head = mlp((7, 16, 4), hidden_bias=True, out_bias=False)
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [head[0].bias is not None, head[3].bias is not None] == [True, False]
    assert head(torch.randn(5, 7)).shape == (5, 4)


def test_simsiam_form() -> None:
    """Three layers without bias, the last batch norm without scale and shift: unit variance."""
    head = mlp((7, 4, 4, 4), hidden_bias=False, out_bias=False, out_norm=True)
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    last = head[-1]
    assert isinstance(last, BatchNorm1d)
    assert not last.affine
    out = head(torch.randn(64, 7))
    torch.testing.assert_close(out.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(0, correction=0), torch.ones(4), rtol=0, atol=1e-2)


def test_dino_form() -> None:
    """GELU between linear layers with biases, batch norm only when asked for."""
    dims = (7, 16, 16, 4)
    plain, normed = (
        mlp(dims, hidden_bias=True, out_bias=True, hidden_norm=norm, activation=nn.GELU)
        for norm in (False, True)
    )
    assert kinds(plain) == ["Linear", "GELU"] * 2 + ["Linear"]
    assert kinds(normed) == ["Linear", "BatchNorm1d", "GELU"] * 2 + ["Linear"]
    assert all(layer.bias is not None for layer in plain if isinstance(layer, nn.Linear))


def test_weight_norm() -> None:
    """torch's weight norm with g = 1: same scores, whatever the rows' lengths; g frozen or not."""
    torch.manual_seed(0)
    ours = WeightNormLinear(5, 3)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3, bias=False))
    with torch.no_grad():
        ours.weight.mul_(50)
        theirs.get_parameter("parametrizations.weight.original0").fill_(1)
        theirs.get_parameter("parametrizations.weight.original1").copy_(ours.weight)
    x = torch.randn(4, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    assert not ours.length.requires_grad
    trained = WeightNormLinear(5, 3, train_length=True)
    trained(x).sum().backward()
    assert trained.length.grad is not None


def test_weight_norm_starts_as_a_linear_layer() -> None:
    """DINO's last layer: rows of length 0.577, uniform within 1 / sqrt(D), as nn.Linear's."""
    torch.manual_seed(0)
    ours, theirs = WeightNormLinear(256, 4096).weight, nn.Linear(256, 4096, bias=False).weight
    assert ours.norm(dim=1).mean().item() == pytest.approx(1 / math.sqrt(3), rel=2e-3)
    assert theirs.norm(dim=1).mean().item() == pytest.approx(1 / math.sqrt(3), rel=2e-3)
    assert 0.999 / 16 < ours.abs().max().item() <= 1 / 16
