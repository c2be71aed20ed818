"""Another normalisation in front of a network."""

import torch
from torch import nn

from trainer.nets.recoloured import Recoloured


def test_the_network_sees_its_own_colours() -> None:
    """(x - m) / s of a run becomes (x - m') / s' of the network, channel by channel."""
    network = nn.Flatten()
    network.feature_dim = 48  # type: ignore[assignment]
    given, own = ((0.1, 0.2, 0.3), (0.5, 1.0, 2.0)), ((0.4, 0.5, 0.6), (0.25, 0.2, 0.1))
    pixels = torch.rand(2, 3, 4, 4)
    (mean, std), (own_mean, own_std) = (
        [torch.tensor(x).reshape(3, 1, 1) for x in colours] for colours in (given, own)
    )
    seen = Recoloured(network, given, own)((pixels - mean) / std)
    torch.testing.assert_close(seen, ((pixels - own_mean) / own_std).flatten(1))
    assert not list(Recoloured(network, given, own).state_dict())  # names are the network's
