"""A small encoder with batch norm."""

import torch
from torch import nn


class MyNet(nn.Module):
    """Two convolutions and a mean; takes `width` of the config's backbone."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.feature_dim = int(16 * width)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, self.feature_dim, 3, 2, 1),
            nn.BatchNorm2d(self.feature_dim),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).mean((2, 3))


class WrongWidth(MyNet):
    """Says another width than it has."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 15


class AsksForValues(MyNet):
    """Cannot be made without values."""

    def __init__(self) -> None:
        super().__init__()
        self.number = float(torch.ones(3).sum().item())


class Silent(nn.Identity):
    """Does not say its width."""
