"""Heads as the papers' cards describe them."""

import torch
from torch import nn

from trainer.batchnorm import BatchNorm1d
from trainer.heads import mlp


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
