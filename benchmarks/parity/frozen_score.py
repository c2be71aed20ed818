"""The one evaluator: kNN and a linear probe of an encoder, whichever side trained it.

Both sides hand over the weights of the same ResNet. Views, sets and numbers are the same, and
nothing is chosen on the held-out images: k and T are fixed, and the probe chooses its L2 on a tenth
of the training features.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.parity.shared_settings import (
    DEPTH,
    MEAN,
    SIZE_PX,
    STD,
    STEM,
    TEMPERATURE,
    WIDTH,
    K,
    View,
)
from shards.errors import DataError
from trainer.command.scored_run import open_evaluation
from trainer.config import DataConfig, EvalConfig, PolicyConfig, TrainConfig
from trainer.encoders.load_encoder import load_encoder
from trainer.eval.evaluation import Evaluation
from trainer.nets.resnet import ResNet


def weights_of(trained: Path) -> Mapping[str, torch.Tensor]:
    """The encoder's weights: of a run of ours, or of what peer_train.py left."""
    if (trained / "encoder.pt").is_file():
        return torch.load(trained / "encoder.pt", weights_only=True)
    return load_encoder(trained).module.state_dict()


def score(weights: Mapping[str, torch.Tensor] | int, train: str, test: str) -> dict[str, Any]:
    """KNN and linear accuracy on the held-out set, and how many images there are.

    Args:
        weights: of the encoder; a seed is an untrained one, with statistics of the training images.
        train: shards whose images vote and are fitted.
        test: shards of the held-out images.
    """
    evaluation = _open(train, test)
    found = evaluation.score("encoder", _encoder(weights, evaluation))
    counts = evaluation.conditions()
    return {
        "knn": found.knn,
        "linear": found.linear,
        "train_images": counts["train_images"],
        "test_images": counts["test_images"],
    }


def _encoder(weights: Mapping[str, torch.Tensor] | int, evaluation: Evaluation) -> nn.Module:
    if isinstance(weights, int):
        torch.manual_seed(weights)
        return evaluation.calibrated(ResNet(DEPTH, width=WIDTH, stem=STEM))
    encoder = ResNet(DEPTH, width=WIDTH, stem=STEM)
    if encoder.state_dict().keys() != weights.keys():
        raise DataError("both sides train one ResNet, got weights of another network")
    encoder.load_state_dict(weights)
    return encoder.eval()


def _open(train: str, test: str) -> Evaluation:
    # Only size and colours of the policy count for centre views.
    scale = list(View().scale)
    groups = ({"count": 1, "size_px": SIZE_PX, "views": [{"scale": scale}]},)
    looks = {"mean": list(MEAN), "std": list(STD)}
    config = TrainConfig(
        data=DataConfig(train=train, workers=1),
        policy=PolicyConfig(name="parity", groups=groups, changes=looks),
        eval=EvalConfig(data=test, k=K, temperature=TEMPERATURE, max_train_images=0),
    )
    return open_evaluation(config, float("inf"))
