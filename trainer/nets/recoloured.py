"""A network behind other colours: pixels normalised one way, as the network was trained on another.

Views have one mean and std a run; a teacher keeps the ones of its own training.
"""

import torch
from torch import nn

Colours = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std, three numbers each


class Recoloured(nn.Module):
    """Images that are normalised by `given`, seen by the network as if by `own`."""

    scale: torch.Tensor  # [3, 1, 1] float32
    shift: torch.Tensor  # [3, 1, 1] float32

    def __init__(self, network: nn.Module, given: Colours, own: Colours) -> None:
        super().__init__()
        self.network = network
        self.feature_dim = network.feature_dim
        (mean, std), (own_mean, own_std) = (map(torch.tensor, colours) for colours in (given, own))
        shape = (3, 1, 1)
        self.register_buffer("scale", (std / own_std).reshape(shape), persistent=False)
        self.register_buffer(
            "shift", ((mean - own_mean) / own_std).reshape(shape), persistent=False
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> what the network gives on (pixel - own mean) / own std."""
        return self.network(images * self.scale + self.shift)
