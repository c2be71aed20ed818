"""A classifier: encoder, perhaps the first layers of a projector, one linear layer; and its file.

`trainer.evaluate --finetune` trains one and writes it; the method `distill` reads it as a teacher.
The file says how to build the network, so that nothing of the run it came from is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shards.atomic import atomic_file
from shards.errors import DataError
from shards.plugins.importing import never_beside
from trainer.checks import require
from trainer.nets.backbones import create_backbone, feature_dim
from trainer.nets.batchnorm import BatchNorm1d

VERSION = 1
# The layers that a neck may have, and the attributes that build each of them again.
_LAYERS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    BatchNorm1d: ("num_features", "affine"),
    nn.ReLU: (),
    nn.GELU: (),
}


class Classifier(nn.Module):
    """Images [N, C, S, S] to scores [N, K]; the linear layer starts from zeros (SimCLR)."""

    def __init__(
        self,
        encoder: nn.Module,
        neck: nn.Sequential,
        num_classes: int,
        classes: Sequence[str] = (),  # the names of the K classes, where there are any
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.encoder = encoder
        self.neck = neck
        widths = [layer.out_features for layer in neck if isinstance(layer, nn.Linear)]
        self.linear = nn.Linear((widths or [feature_dim(encoder)])[-1], num_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores of the classes."""
        return self.linear(self.neck(self.encoder(images)))


def first_layers(head: nn.Module | None, num_layers: int) -> nn.Sequential:
    """The first linear layers of a projector, each with what follows it; SimCLR v2 keeps one.

    A projector's last layer makes embeddings for a loss, and cannot be asked for.
    """
    layers = list(head) if isinstance(head, nn.Sequential) else []
    starts = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    most = max(0, len(starts) - 1)
    rule = f"the layers kept of this run's projector are 0 to {most}"
    require(0 <= num_layers <= most, rule, num_layers, "lower --head-layers")
    return nn.Sequential(*(layers[: starts[num_layers]] if num_layers else []))


def save_classifier(path: Path, classifier: Classifier, backbone: Mapping[str, Any]) -> None:
    """Write weights and plan; `backbone` holds the arguments of `create_backbone`."""
    state = {
        "version": VERSION,
        "backbone": dict(backbone),
        "neck": [_describe(layer) for layer in classifier.neck],
        "num_classes": classifier.linear.out_features,
        "classes": list(classifier.classes),
        "weights": classifier.state_dict(),
    }
    with atomic_file(path) as file:
        torch.save(state, file)


def load_classifier(path: Path) -> Classifier:
    """The classifier of a file, on the CPU; DataError when it is none of ours.

    An encoder of one's own is found by its name, and never in the file's folder.
    """
    never_beside(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version = state["version"]
    except Exception as error:
        raise DataError(
            f"a classifier is a file written by python -m trainer.evaluate RUN --finetune SHARE, "
            f"got {path} ({type(error).__name__}); write one"
        ) from error
    if version != VERSION:
        raise DataError(
            f"a classifier's version is {VERSION}, got {version} in {path}; write it again"
        )
    try:
        return _rebuild(state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"a classifier's file says how to build its own weights, got {path} "
            f"({type(error).__name__}: {reason}); write it again"
        ) from error


def _rebuild(state: Mapping[str, Any]) -> Classifier:
    """The network that the file describes, with the file's weights in it."""
    kinds = {kind.__name__: kind for kind in _LAYERS}
    neck = nn.Sequential(*(kinds[name](**values) for name, values in state["neck"]))
    # A file written before classifiers kept their classes' names has none.
    sizes = (state["num_classes"], state.get("classes", ()))
    classifier = Classifier(create_backbone(**state["backbone"]), neck, *sizes)
    classifier.load_state_dict(state["weights"])
    return classifier


def _describe(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    """A layer's name and arguments; a bias is one that is there or not."""
    values = {name: getattr(layer, name) for name in _LAYERS[type(layer)]}
    if "bias" in values:
        values["bias"] = values["bias"] is not None
    return type(layer).__name__, values
