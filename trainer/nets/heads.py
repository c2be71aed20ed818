"""Projectors and predictors: linear layers with batch norm and ReLU between them.

The papers' heads differ in widths, in which linear layers have a bias, in where a batch norm
follows, and in the activation; each method's file says its choice.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated

import torch
from torch import nn
from torch.nn import functional as F

from trainer.nets.batchnorm import BatchNorm1d
from trainer.settings.bounds import Count, at_most

MAX_LAYERS = 16
NumLayers = Annotated[Count, at_most(MAX_LAYERS)]  # of a projector, where that is a setting
_relu = partial(nn.ReLU, inplace=True)


def mlp(
    dims: tuple[int, ...],  # features of input, hidden layers, output
    *,
    hidden_bias: bool,  # of linear layers before a batch norm, where it is redundant
    out_bias: bool,
    out_norm: bool = False,  # batch norm after the last linear layer
    out_scale: bool = False,  # that batch norm has a scale (SimCLR)
    out_shift: bool = False,  # and a shift too (NNCLR)
    hidden_norm: bool = True,
    activation: Callable[[], nn.Module] = _relu,  # or nn.GELU
) -> nn.Sequential:
    """Linear [-BN] -ReLU for hidden widths, then Linear [-BN]; [N, dims[0]] -> [N, dims[-1]]."""
    assert out_norm >= out_scale >= out_shift, "each goes with the one before"
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(dims[:-1]):
        layers.append(nn.Linear(fan_in, fan_out, bias=hidden_bias))
        if hidden_norm:
            layers.append(BatchNorm1d(fan_out))
        layers.append(activation())
    layers.append(nn.Linear(dims[-2], dims[-1], bias=out_bias))
    if out_norm:
        norm = BatchNorm1d(dims[-1], affine=out_scale)
        if out_scale:
            # Frozen at 0 where there is none: batch norms have both or neither.
            norm.bias.requires_grad_(out_shift)
        layers.append(norm)
    return nn.Sequential(*layers)


class WeightNormLinear(nn.Module):
    """Scores against K directions: [N, D] -> [N, K], no bias, row = length x weight / |weight|.

    Salimans and Kingma 2016, 1602.07868. The lengths are 1, and stay there unless trained.
    """

    def __init__(self, dim: int, num_rows: int, *, train_length: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_rows, dim))
        self.length = nn.Parameter(torch.ones(num_rows, 1), requires_grad=train_length)
        # As nn.Linear starts: rows of length 0.577. Shorter ones turn faster at the same rate.
        nn.init.uniform_(self.weight, -(dim**-0.5), dim**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, D] -> [N, K]."""
        return F.linear(x, self.length * F.normalize(self.weight, dim=1))
