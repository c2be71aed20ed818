"""Methods by name, imported when asked for: adding one is a file and a line here.

Or no line: `module:Class` names a method that lives elsewhere (plugin.py).
"""

import ast
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trainer.checks import choose
from trainer.methods.plugin import is_plugin, load_class, load_settings
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


def method_class(name: str) -> "type[Method]":
    """The class of a name, or of a `module:Class` of one's own; UsageError for neither."""
    return load_class(_where(name))


def settings_class(name: str) -> type[Any]:
    """The dataclass of a method's own keys."""
    return load_settings(_where(name))


def method_settings(name: str, values: Mapping[str, Any]) -> Any:
    """The method's `Settings` from a recipe's mapping; UsageError for what it does not know."""
    return build(settings_class(name), {**SETTINGS.get(name, {}), **values}, "method")


def create_method(name: str, backbone: "nn.Module", values: Mapping[str, Any]) -> "Method":
    """The method around a backbone, its settings checked; UsageError for an unknown name or key."""
    settings = method_settings(name, values)
    return cast(Any, method_class(name))(backbone, settings)


def describe_methods() -> dict[str, str]:
    """Every method's name and what it does: the first line of its file, which is not imported."""
    return {name: _first_line(where.partition(":")[0]) for name, where in METHODS.items()}


def check_name(name: str) -> str:
    """The name itself; UsageError when it is neither in the table nor module:Class."""
    return name if is_plugin(name) else choose("method", name, METHODS)


def _first_line(module: str) -> str:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    return doc.partition("\n")[0].rstrip(".")


def _where(name: str) -> str:
    return METHODS.get(check_name(name), name)
