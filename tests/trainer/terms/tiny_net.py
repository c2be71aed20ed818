"""A backbone small enough to train in a test of a term."""

import torch
from torch import nn

from trainer.nets.batchnorm import BatchNorm2d


class Tiny(nn.Module):
    """A convolution and batch norm: [N, 3, S, S] -> [N, feature_dim]."""

    def __init__(self, feature_dim: int = 16) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        norm = BatchNorm2d(feature_dim)
        self.net = nn.Sequential(nn.Conv2d(3, feature_dim, 3, 2), norm, nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).mean((2, 3))
