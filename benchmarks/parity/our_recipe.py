"""Our side of a pair as a recipe of `trainer.run`: every number of it from shared_settings.py.

What is only ours to say stands in _OWN: it makes our method what lightly's is, where there is a
choice (BYOL's loss by its cosines, MoCo without shuffling, DINO with one teacher temperature).
"""

from dataclasses import asdict
from typing import Any

from benchmarks.parity.shared_settings import (
    BATCH,
    DEPTH,
    LOCAL_PX,
    MEAN,
    PAIRS,
    SGD_MOMENTUM,
    SIZE_PX,
    STD,
    STEM,
    WIDTH,
    Pair,
    View,
)

# Fields of a Pair that are settings of our methods under the same name, or under another.
_SAME = ("out_dim", "temperature", "teacher_temperature", "momentum", "queue_length")
_SAME += ("num_prototypes", "freeze_epochs", "predictor_dim")
_OWN: dict[str, dict[str, Any]] = {
    "byol": {"loss_scale": 0.25},
    "mocov2": {"groups": 1, "shuffle": False, "symmetric": False},
    "dino": {"head_norm": True, "warmup_epochs": 0.0},
}
# Whose hidden layers are as wide as the features, or whose predictor as its projector's.
_NO_HIDDEN, _ONE_HIDDEN = ("simclr",), ("byol",)
_WINDOWS = {"crop": "torchvision", "interpolation": "bilinear", "blur": 0.0}


def our_recipe(method: str) -> dict[str, Any]:
    """The mapping that `trainer.run --config` reads; length, seed and places are flags."""
    pair = PAIRS[method]
    return {
        "data": {"workers": 1},
        "policy": {
            "name": f"parity-{method}",
            "groups": _groups(pair),
            "mean": list(MEAN),
            "std": list(STD),
        },
        "backbone": {"arch": f"resnet{DEPTH}", "stem": STEM, "width": WIDTH},
        "method": {"name": method, **_settings(method, pair)},
        "optim": {
            "name": "sgd",
            "base_lr": pair.lr * 256 / BATCH,
            "momentum": SGD_MOMENTUM,
            "weight_decay": pair.weight_decay,
            "decay_1d": True,
            "warmup_epochs": 0,
        },
        "loop": {"batch_size": BATCH, "precision": "fp32"},
        "run": {"loggers": []},
    }


def _settings(method: str, pair: Pair) -> dict[str, Any]:
    found = {name: value for name in _SAME if (value := getattr(pair, name)) is not None}
    if method not in _NO_HIDDEN:
        found["hidden_dim"] = pair.hidden_dim
    if method in _ONE_HIDDEN:
        del found["predictor_dim"]
    return found | dict(pair.weights) | _OWN.get(method, {})


def _groups(pair: Pair) -> list[dict[str, Any]]:
    """Crop groups in full, so that no policy of ours has a say."""
    groups = [{"count": 2, "size_px": SIZE_PX, "views": [_view(view) for view in pair.views]}]
    if pair.local is not None:
        local = {"count": pair.num_local, "size_px": LOCAL_PX, "views": [_view(pair.local)]}
        groups.append(local)
    return groups


def _view(view: View) -> dict[str, Any]:
    return asdict(view) | {"scale": list(view.scale)} | _WINDOWS
