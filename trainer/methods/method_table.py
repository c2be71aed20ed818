"""Methods by name, imported when asked for: adding one is a file and a line here.

Or no line: `package.module:Class` or an entry point names a method that lives elsewhere
(shards/plugins/find.py), with its `Settings` beside the class.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from shards.plugins.find import first_line_of
from shards.plugins.making import find_class, find_settings
from trainer.settings.strict import build

if TYPE_CHECKING:  # names and what they say are told without torch
    from torch import nn

    from trainer.methods.protocol import Method

METHODS = {
    "barlow": "trainer.methods.barlow:BarlowTwins",
    "byol": "trainer.methods.byol:BYOL",
    "dcl": "trainer.methods.simclr:SimCLR",
    "dclw": "trainer.methods.simclr:SimCLR",
    "deepclusterv2": "trainer.methods.deepclusterv2:DeepClusterV2",
    "dino": "trainer.methods.dino:DINO",
    "distill": "trainer.methods.distill:Distill",
    "empssl": "trainer.methods.empssl:EMPSSL",
    "exemplar": "trainer.methods.exemplar:Exemplar",
    "fastmoco": "trainer.methods.fastmoco:FastMoCo",
    "fastsiam": "trainer.methods.simsiam:SimSiam",
    "instdisc": "trainer.methods.instdisc:InstDisc",
    "lejepa": "trainer.methods.lejepa:LeJEPA",
    "mmcr": "trainer.methods.mmcr:MMCR",
    "mocov1": "trainer.methods.moco:MoCo",
    "mocov2": "trainer.methods.moco:MoCo",
    "mocov3": "trainer.methods.mocov3:MoCoV3",
    "msf": "trainer.methods.msf:MSF",
    "nnclr": "trainer.methods.nnclr:NNCLR",
    "relic": "trainer.methods.relic:ReLIC",
    "ressl": "trainer.methods.ressl:ReSSL",
    "sce": "trainer.methods.sce:SCE",
    "sat": "trainer.methods.sat:SAT",
    "simclr": "trainer.methods.simclr:SimCLR",
    "simreg": "trainer.methods.simreg:SimReg",
    "simsiam": "trainer.methods.simsiam:SimSiam",
    "sslhsic": "trainer.methods.sslhsic:SSLHSIC",
    "swav": "trainer.methods.swav:SwAV",
    "tico": "trainer.methods.tico:TiCo",
    "vicreg": "trainer.methods.vicreg:VICReg",
    "wmse": "trainer.methods.wmse:WMSE",
}
# What a name says besides its class.
SETTINGS: dict[str, dict[str, Any]] = {
    "dcl": {"loss": "dcl"},
    "dclw": {"loss": "dclw"},
    "fastsiam": {"targets": "mean"},
    "mocov1": {"head": "linear", "temperature": 0.07},
}


def method_class(name: str) -> "type[Method]":
    """The class that a name means, ours or one's own; UsageError for neither."""
    from trainer.methods.protocol import Method  # loads torch, which a name alone does not need

    return find_class("methods", name, METHODS, base=Method)


def settings_class(name: str) -> type[Any]:
    """The dataclass of a method's own keys: `Settings` where it is named, or where it is defined.

    Raises:
        UsageError: as `method_class`, which comes first, or `Settings` are something else.
    """
    return find_settings("methods", name, METHODS, method_class(name))


def method_settings(name: str, values: Mapping[str, Any]) -> Any:
    """The method's `Settings` from a recipe's mapping; UsageError for what it does not know."""
    return build(settings_class(name), {**SETTINGS.get(name, {}), **values}, "method")


def create_method(name: str, backbone: "nn.Module", values: Mapping[str, Any]) -> "Method":
    """The method around a backbone, its settings checked; UsageError for an unknown name or key."""
    settings = method_settings(name, values)
    return cast(Any, method_class(name))(backbone, settings)


def describe_methods() -> dict[str, str]:
    """Every method's name and what it does: the first line of its file, which is not imported."""
    return {name: first_line_of(address) for name, address in METHODS.items()}
