"""Frozen encoders of others that a method learns from, by the names that its settings have.

A name is what `backbone.weights` takes: a run, a checkpoint, an export, a file of others, timm:NAME
(trainer/weights); the network is told from the file, and sees the colours that it was trained on
where these are told. `networks.py` hands them to the method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from augengine.policy import Policy
from shards.errors import DataError, UsageError
from shards.plugins.importing import never_beside, never_from
from trainer.config import MethodConfig
from trainer.methods.method_table import method_class, method_settings
from trainer.nets.backbones import BACKBONES, create_backbone
from trainer.nets.recoloured import Recoloured
from trainer.weights.match import Given, read_given
from trainer.weights.source import check_source


@dataclass(frozen=True, slots=True)
class Teacher:
    """An encoder that was read, and its name."""

    name: str
    given: Given

    @property
    def is_ours(self) -> bool:
        """Whether its network is one that ships."""
        return self.given.backbone["arch"] in BACKBONES

    def build(self, policy: Policy, sizes: Mapping[str, Any]) -> tuple[nn.Module, str]:
        """The network with its weights, for this run's views; and a sentence on it.

        Raises:
            DataError: weights lack, or hold NaN or infinity.
        """
        network = self.shape(sizes)
        taken = self.given.fill(network)
        if taken.missing:
            raise DataError(
                f"a frozen teacher has all its weights, got {self.name} without "
                f"{taken.missing[0]}; name another"
            )
        told = f"teacher: {taken.describe().removeprefix('weights: ')}"
        own, here = self.given.source.colours, (tuple(policy.mean), tuple(policy.std))
        if own is None:
            return network, f"{told}; its colours are not told, so it sees this run's"
        return (network if own == here else Recoloured(network, here, own)), told

    def shape(self, sizes: Mapping[str, Any]) -> nn.Module:
        """The network with any weights."""
        return create_backbone(**self.given.backbone, **sizes)


def read_teachers(method: MethodConfig) -> Sequence[Teacher]:
    """The teachers that a method's settings name, which are none for most methods.

    Raises:
        UsageError: there is no such thing.
        DataError: it is there, and holds no encoder that can be told.
    """
    setting = method_class(method.name).teachers_setting
    if setting is None:
        return ()
    names = getattr(method_settings(method.name, method.settings), setting) or ()
    return [_read(name, f"method.{setting}") for name in names]


def _read(name: str, key: str) -> Teacher:
    check_source(name, key)
    path = Path(name).expanduser()
    if path.exists():
        never_from(path) if path.is_dir() else never_beside(path)
    try:
        given = read_given(name)
    except DataError as error:
        reason = str(error).partition("; ")[0]
        raise DataError(
            f"{key} names encoders, got {name}: {reason}; name another, or save the encoder's "
            "state dict alone"
        ) from error
    if "arch" not in given.backbone:
        raise UsageError(
            f"{key} names encoders whose network is told by the file, got {name} "
            f"({given.found.layout.name}) of an unknown one; name a run, an export or timm:NAME"
        )
    return Teacher(name, given)
