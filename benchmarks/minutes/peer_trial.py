"""Trains with lightly for a budget of processor time; peers_best.py starts it.

    PYTHONPATH=. PEERS/bin/python -m benchmarks.minutes.peer_trial --idea simclr \
        --images FOLDER --core-seconds 120 --seed 0 --out FOLDER

Runs in the peers' environment, in one thread of one process, which spares lightly the hand-over
between processes. The cosine of the rate follows the share of the budget that is spent, so that
every run ends at 0 when its time does. It leaves encoder.pt and record.json.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightly.data import LightlyDataset
from torch.utils.data import DataLoader

from benchmarks.minutes.peer_ideas import PEER_IDEAS, PeerIdea
from benchmarks.parity.peer_method import Crops, PeerMethod, Place
from benchmarks.parity.peer_methods import create_peer
from benchmarks.parity.peer_train import LIBRARIES, parameter_groups
from benchmarks.parity.peer_views import peer_transform
from benchmarks.parity.shared_settings import DEPTH, SGD_MOMENTUM
from trainer.nets.resnet import ResNet


def main() -> None:
    """Train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--idea", required=True, choices=PEER_IDEAS)
    add("--images", required=True, type=Path, metavar="FOLDER")
    add("--core-seconds", required=True, type=float, metavar="S")
    add("--seed", required=True, type=int, metavar="N")
    add("--out", required=True, type=Path, metavar="FOLDER")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    idea = PEER_IDEAS[options.idea]
    backbone = ResNet(DEPTH, width=idea.width, stem=idea.stem)
    method = create_peer(idea.method, backbone, idea.pair).train()
    record = _train(method, idea, _loader(idea, options.images), options.core_seconds)
    record["versions"] = {name: metadata.version(name) for name in LIBRARIES}
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(method.encoder.state_dict(), options.out / "encoder.pt")
    (options.out / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _loader(idea: PeerIdea, images: Path) -> DataLoader[Any]:
    dataset = LightlyDataset(str(images), transform=peer_transform(idea.method, idea.pair))
    return DataLoader(dataset, batch_size=idea.batch, shuffle=True, drop_last=True)


def _train(
    method: PeerMethod, idea: PeerIdea, loader: DataLoader[Any], core_seconds: float
) -> dict[str, Any]:
    """Steps until the budget is spent; how many, of how many images, and the last loss."""
    optimizer = _optimizer(method, idea)
    step, value, batches, began = 0, math.nan, _endless(loader), time.process_time()
    while (spent := (time.process_time() - began) / core_seconds) < 1:
        crops = next(batches)
        for group in optimizer.param_groups:
            falls = (1 + math.cos(math.pi * spent)) / 2 if group["follows"] else 1.0
            group["lr"] = idea.pair.lr * falls
        place = Place(step, round(step / spent) + 1, len(loader))
        value = method.step(crops, place, optimizer).item()
        step += 1
        if not math.isfinite(value):
            raise RuntimeError(f"the loss of step {step} is {value}")
    return {"steps": step, "images": step * idea.batch, "last_loss": value}


def _endless(loader: DataLoader[Any]) -> Iterator[Crops]:
    while True:
        for batch in loader:
            yield batch[0]


def _optimizer(method: PeerMethod, idea: PeerIdea) -> torch.optim.Optimizer:
    groups, pair = parameter_groups(method), idea.pair
    if idea.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=pair.lr, weight_decay=0.01)
    return torch.optim.SGD(
        groups, lr=pair.lr, momentum=SGD_MOMENTUM, weight_decay=pair.weight_decay
    )


if __name__ == "__main__":
    main()
