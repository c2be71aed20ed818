"""Projectors and predictors: linear layers with batch norm and ReLU between them.

The papers' heads differ only in widths, in which linear layers have a bias, and in whether a batch
norm follows the last one; each method's file says its choice.
"""

from itertools import pairwise

from torch import nn

from trainer.batchnorm import BatchNorm1d


def mlp(
    dims: tuple[int, ...],  # features of input, hidden layers, output
    *,
    hidden_bias: bool,  # of linear layers before a batch norm, where it is redundant
    out_bias: bool,
    out_norm: bool = False,  # batch norm without scale and shift after the last linear layer
) -> nn.Sequential:
    """Linear-BN-ReLU for every hidden width, then Linear [-BN]: [N, dims[0]] -> [N, dims[-1]]."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(dims[:-1]):
        layers.append(nn.Linear(fan_in, fan_out, bias=hidden_bias))
        layers += [BatchNorm1d(fan_out), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(dims[-2], dims[-1], bias=out_bias))
    if out_norm:
        layers.append(BatchNorm1d(dims[-1], affine=False))
    return nn.Sequential(*layers)
