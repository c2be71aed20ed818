"""A run's folder without its training: config.yaml and one checkpoint of random weights."""

from pathlib import Path
from typing import Any

import torch
from tiny_run import tiny_config

from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.recipes.recipe import as_mapping, to_yaml
from trainer.record.rundir import CONFIG_NAME
from trainer.setup.networks import build_method


def made_run(
    run: Path, shards: Path, arch: str = "resnet10", *, stem: str = "small", **changes: Any
) -> TrainConfig:
    """Write the folder; batch norms have statistics as after some training."""
    is_resnet = arch.startswith("resnet")
    backbone = {"arch": arch, "width": 1.0, "stem": stem if is_resnet else "auto"}
    sizes = {"policy": {"name": "simsiam", "views": "2", "sizes": "32", "blur": 0.0}}
    config = tiny_config(shards, "simsiam", **({"backbone": backbone} | sizes | changes))
    method = build_method(config, config.policy.load())
    generator = torch.Generator().manual_seed(1)
    for name, tensor in method.state_dict().items():
        if name.endswith(("running_mean", "bias", "running_var")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    run.mkdir(parents=True)
    (run / CONFIG_NAME).write_text(to_yaml(config))
    state = {
        "step": 3,
        "cursor": {},
        "method": method.state_dict(),
        "optimizer": {},
        "seed": 0,
        "data_fingerprint": "f" * 64,
        "config": as_mapping(config),
        "torch_version": str(torch.__version__),
    }
    checkpoint.save(run, state, keep=1)
    return config
