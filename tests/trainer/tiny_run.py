"""A run small enough to repeat many times: 37 tiny images, a 4-channel encoder, 40 steps."""

from pathlib import Path
from typing import Any

from toy_methods import TOY

from trainer.config import TrainConfig
from trainer.recipes.recipe import resolve
from trainer.settings.strict import merge


def tiny_config(folder: Path, method: str = "swav", **changes: Any) -> TrainConfig:
    """40 steps of 8 of the 37 images: 8.65 epochs, every batch but a few crosses no border."""
    values = {
        "data": {"train": str(folder), "backend": "fused", "decoder": "pillow", "workers": 1},
        "policy": {"name": "simsiam", "views": "2+1", "sizes": "16+8", "blur": 0.0},
        "backbone": {"arch": "resnet10", "width": 0.125, "stem": "small"},
        "method": {"name": method, **TOY[method]},
        "optim": {"name": "lars", "base_lr": 1.0, "warmup_epochs": 1.0},
        "loop": {"epochs": 8.65, "batch_size": 8},
        "run": {"log_every": 1, "keep": 100, "device": "cpu"},
    }
    return resolve(merge(values, changes))
