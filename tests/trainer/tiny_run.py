"""A run small enough to repeat many times: 37 tiny images, a 4-channel encoder, 40 steps."""

from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.recipe import resolve
from trainer.strict import merge

TINY_HEADS: dict[str, dict[str, Any]] = {
    "swav": {"num_prototypes": 6, "hidden_dim": 8, "out_dim": 8, "queue_length": 16},
    "byol": {"hidden_dim": 8, "out_dim": 8, "momentum": 0.9},
    "simsiam": {"out_dim": 8, "predictor_dim": 4},
}
TINY_HEADS["swav"] |= {"queue_start_epoch": 1.0, "freeze_epochs": 0.5}


def tiny_config(folder: Path, method: str = "swav", **changes: Any) -> TrainConfig:
    """40 steps of 8 of the 37 images: 8.65 epochs, every batch but a few crosses no border."""
    values = {
        "data": {"train": str(folder), "backend": "kornia", "decoder": "pillow", "workers": 1},
        "policy": {"name": method, "views": "2+1", "sizes": "16+8", "blur": 0.0},
        "backbone": {"arch": "resnet10", "width": 0.0625, "stem": "small"},
        "method": {"name": method, **TINY_HEADS[method]},
        "optim": {"name": "lars", "base_lr": 1.0, "warmup_epochs": 1.0},
        "loop": {"epochs": 8.65, "batch_size": 8},
        "run": {"log_every": 1, "keep": 100, "device": "cpu"},
    }
    return resolve(merge(values, changes))
