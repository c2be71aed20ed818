"""The encoder before the first step: as the seed makes it, or with given weights.

The score of step 0, and the row below a trained encoder's, are of that: a random encoder, whose
batch norms first see some images, or the given weights exactly as they are.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from augengine.policy import Policy
from shards.errors import DataError
from trainer.config import TrainConfig
from trainer.setup.networks import build_method
from trainer.weights.match import Taken, read_given

RANDOM = "random encoder"
GIVEN = "given weights"


class Beginning:
    """Fills a backbone as backbone.weights says, and keeps what came of it."""

    def __init__(self, config: TrainConfig) -> None:
        self._backbone = config.backbone
        self.taken: Taken | None = None  # None: no weights are given, or nothing was filled yet

    def fill(self, backbone: nn.Module) -> None:
        """Put the given weights into the backbone; errors as `Given.fill` and `read_given`."""
        weights, part = self._backbone.weights, self._backbone.weights_part
        if weights is None:
            return
        own_name = next(iter(backbone.state_dict()), None)
        self.taken = read_given(weights, part, own_name).fill(backbone)


def name_of_beginning(config: TrainConfig) -> str:
    """The name of the encoder of step 0 in scores."""
    return RANDOM if config.backbone.weights is None else GIVEN


def encoder_as_begun(
    config: TrainConfig,
    policy: Policy,
    recorded: Mapping[str, Any],  # of the run's first start (starts.py): what was taken
) -> nn.Module:
    """The encoder before the first step, made once more; it reads backbone.weights again.

    Raises:
        UsageError: they are not there any more.
        DataError: they are not those that the run began with.
    """
    beginning = Beginning(config)
    encoder = build_method(config, policy, beginning.fill).encoder
    taken = beginning.taken
    if taken is not None and recorded.get("sha256") not in (None, taken.sha256):
        raise DataError(
            f"the score before training is of the weights a run began with, got {taken.where} "
            f"with another content (sha256 {taken.sha256[:12]}, not {recorded['sha256'][:12]}); "
            "put the former file back"
        )
    return encoder
