"""Methods by name, imported when asked for: adding one is a file and a line here."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from trainer.checks import choose
from trainer.methods.protocol import Method
from trainer.strict import build

METHODS = {
    "barlow": "trainer.methods.barlow:BarlowTwins",
    "byol": "trainer.methods.byol:BYOL",
    "dcl": "trainer.methods.simclr:SimCLR",
    "dclw": "trainer.methods.simclr:SimCLR",
    "deepclusterv2": "trainer.methods.deepclusterv2:DeepClusterV2",
    "dino": "trainer.methods.dino:DINO",
    "distill": "trainer.methods.distill:Distill",
    "exemplar": "trainer.methods.exemplar:Exemplar",
    "instdisc": "trainer.methods.instdisc:InstDisc",
    "mocov1": "trainer.methods.moco:MoCo",
    "mocov2": "trainer.methods.moco:MoCo",
    "mocov3": "trainer.methods.mocov3:MoCoV3",
    "nnclr": "trainer.methods.nnclr:NNCLR",
    "simclr": "trainer.methods.simclr:SimCLR",
    "simsiam": "trainer.methods.simsiam:SimSiam",
    "sslhsic": "trainer.methods.sslhsic:SSLHSIC",
    "swav": "trainer.methods.swav:SwAV",
    "vicreg": "trainer.methods.vicreg:VICReg",
}
# What a name says besides its class.
SETTINGS: dict[str, dict[str, Any]] = {
    "dcl": {"loss": "dcl"},
    "dclw": {"loss": "dclw"},
    "mocov1": {"head": "linear", "temperature": 0.07},
}


def method_settings(name: str, values: Mapping[str, Any]) -> Any:
    """The method's `Settings` from a recipe's mapping; UsageError for what it does not know."""
    return build(_module(name).Settings, {**SETTINGS.get(name, {}), **values}, "method")


def create_method(name: str, backbone: nn.Module, values: Mapping[str, Any]) -> Method:
    """The method around a backbone, its settings checked; UsageError for an unknown name or key."""
    settings = method_settings(name, values)
    return getattr(_module(name), METHODS[name].partition(":")[2])(backbone, settings)


def describe_methods() -> dict[str, str]:
    """Every method's name and what it does: the first line of its file."""
    docs = {name: _module(name).__doc__ or "" for name in METHODS}
    return {name: doc.partition("\n")[0].rstrip(".") for name, doc in docs.items()}


def _module(name: str) -> ModuleType:
    choose("method", name, METHODS)
    return importlib.import_module(METHODS[name].partition(":")[0])
