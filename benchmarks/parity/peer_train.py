"""Trains one method with lightly, as its PyTorch examples do, on a folder of image files.

    PYTHONPATH=. PEERS/bin/python -m benchmarks.parity.peer_train --method simclr \
        --images FOLDER --epochs 5 --seed 0 --out FOLDER

Runs in the peers' environment; run_parity.py starts it. Ours in it are the encoder and the numbers
of shared_settings.py: reading, decoding, views, heads, losses and optimizer are lightly's,
torchvision's and torch's. It leaves encoder.pt and record.json, a window of steps a line.
"""

import argparse
import json
import math
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightly.data import LightlyDataset
from torch.utils.data import DataLoader

from benchmarks.parity.peer_method import PeerMethod, Place
from benchmarks.parity.peer_methods import create_peer
from benchmarks.parity.peer_views import peer_transform
from benchmarks.parity.shared_settings import (
    BATCH,
    DEPTH,
    PAIRS,
    SGD_MOMENTUM,
    STEM,
    WIDTH,
    Pair,
)
from trainer.nets.resnet import ResNet

WINDOW = 10  # steps whose time is told together, as `run.log_every` of ours
FIRST_STEPS = 2  # of the run, which tell nothing of its speed
LIBRARIES = ("lightly", "torch", "torchvision", "pillow")


def main() -> None:
    """Train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--method", required=True, choices=sorted(PAIRS))
    add("--images", required=True, type=Path, metavar="FOLDER")
    add("--epochs", required=True, type=int, metavar="N")
    add("--seed", required=True, type=int, metavar="N")
    add("--workers", default=1, type=int, metavar="N", help="processes (default: %(default)s)")
    add("--out", required=True, type=Path, metavar="FOLDER")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    # The very weights that ours starts with: it too takes the encoder's first of all.
    backbone = ResNet(DEPTH, width=WIDTH, stem=STEM)
    pair = PAIRS[options.method]
    method = create_peer(options.method, backbone, pair).train()
    loader = _loader(options.method, pair, options.images, options.workers)
    record = _train(method, pair, loader, options.epochs)
    record["versions"] = {name: metadata.version(name) for name in LIBRARIES}
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(method.encoder.state_dict(), options.out / "encoder.pt")
    (options.out / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _loader(method: str, pair: Pair, images: Path, workers: int) -> DataLoader[Any]:
    dataset = LightlyDataset(str(images), transform=peer_transform(method, pair))
    return DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def _train(method: PeerMethod, pair: Pair, loader: DataLoader[Any], epochs: int) -> dict[str, Any]:
    """The loop; windows of steps with their speed, their wait and their last loss."""
    optimizer, scheduler = _optimizer(method, pair, epochs * len(loader))
    windows: list[dict[str, float]] = []
    step, images, waited, since = 0, 0, 0.0, time.perf_counter()
    for _ in range(epochs):
        batches = iter(loader)
        for _ in range(len(loader)):
            asked = time.perf_counter()
            crops = next(batches)[0]
            waited += time.perf_counter() - asked
            place = Place(step, epochs * len(loader), len(loader))
            loss = method.step(crops, place, optimizer)
            scheduler.step()
            step, images = step + 1, images + len(crops[0])
            if step == FIRST_STEPS:
                images, waited, since = 0, 0.0, time.perf_counter()
            if step % WINDOW == 0:
                value, took = loss.item(), time.perf_counter() - since
                if not math.isfinite(value):
                    raise RuntimeError(f"the loss of step {step} is {value}")
                window = {"step": step, "images_per_s": images / took, "data_wait": waited / took}
                windows.append(window | {"loss": value})
                images, waited, since = 0, 0.0, time.perf_counter()
    return {"steps": step, "windows": windows}


def _optimizer(
    method: PeerMethod, pair: Pair, total_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """SGD over all trained parameters, and a cosine from the peak to 0, a step at a time."""

    def cosine(step: int) -> float:
        return (1 + math.cos(math.pi * step / total_steps)) / 2

    groups = parameter_groups(method)
    optimizer = torch.optim.SGD(
        groups, lr=pair.lr, momentum=SGD_MOMENTUM, weight_decay=pair.weight_decay
    )
    schedules = [cosine if group["follows"] else lambda step: 1.0 for group in groups]
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, schedules)


def parameter_groups(method: PeerMethod) -> list[dict[str, Any]]:
    """All trained parameters: those whose rate follows the schedule, and those whose stays."""
    follows: list[torch.nn.Parameter] = []
    stays: list[torch.nn.Parameter] = []
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            (stays if name.split(".")[0] in method.constant_lr else follows).append(parameter)
    groups = [{"params": follows, "follows": True}, {"params": stays, "follows": False}]
    return [group for group in groups if group["params"]]


if __name__ == "__main__":
    main()
