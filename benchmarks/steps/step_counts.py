"""Operators and bytes of one optimizer step of every method, held to a budget.

    python -m benchmarks.steps.step_counts [--methods swav,dino] [--check]

A step is views to new weights: forward of 2+6 crops, backward, clipping, optimizer, teacher, queue.
It is counted (operator_count.py) on `meta` tensors in float32, so that nothing is computed, and a
step that reads a number back from its device ends in an error. The counts are a pure function of
the code and of torch's version; benchmarks/results/step_counts.json keeps them, and is the budget:
with --check a step that needs more than stands there fails, and nothing is written.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.steps.count_command import KeptCount
from benchmarks.steps.operator_count import Count
from shards.errors import DataError
from trainer.config import LoopConfig
from trainer.methods.method_table import METHODS, create_method
from trainer.methods.protocol import Method, Progress
from trainer.nets.backbones import create_backbone
from trainer.optim.create_optimizer import OptimSettings, build_optimizer
from trainer.step import optimizer_step

RESULTS = Path(__file__).parents[1] / "results" / "step_counts.json"
# The optimizer and the clipping that go with each.
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet50": ("lars", {}),
    "vit_small16": ("adamw", {"clip_norm": 3.0, "clip_each": True}),
}
IMAGES = 32
SIZES = ((2, 224), (6, 96))
ELSEWHERE = torch.device("meta")
MOST = 1.001  # of a budget's bytes; operators are whole numbers


class _AnyGenerator(torch.Generator):
    """Meta tensors have no random numbers, and no generator of them."""

    def __new__(cls, device: object = None) -> "_AnyGenerator":
        return super().__new__(cls)


def main(argv: list[str] | None = None) -> int:
    """Count, and write or compare; returns the exit code."""
    return KeptCount(
        module="benchmarks.steps.step_counts",
        description=__doc__ or "",
        names=list(METHODS),
        results=RESULTS,
        settings={"images": IMAGES, "views": "2+6", "sizes": "224+96", "dtype": "float32"},
        count=lambda name: {encoder: count_step(name, encoder) for encoder in ENCODERS},
        lines=lambda name, counts: [
            f"{name:14} {encoder:12} {found['operators']:6,} {found['gib']:8.2f} GiB"
            for encoder, found in counts.items()
        ],
        refuse=refuse_more,
    ).main(argv)


def refuse_more(
    name: str, counts: dict[str, dict[str, Any]], budgets: dict[str, dict[str, Any]]
) -> None:
    """DataError when a step of the method needs more than its budget."""
    for encoder, found in counts.items():
        budget = budgets.get(name, {}).get(encoder)
        if budget is None:
            raise DataError(f"every method has a budget, got none for {name}; run without --check")
        if found["operators"] > budget["operators"] or found["gib"] > MOST * budget["gib"]:
            raise DataError(
                f"a step of {name} with {encoder} needs at most {budget['operators']:,} operators "
                f"and {budget['gib']:.2f} GiB, got {found['operators']:,} and {found['gib']:.2f}; "
                f"make it less, or raise {RESULTS.name} by running without --check"
            )


def count_step(name: str, encoder: str) -> dict[str, Any]:
    """Operators and GiB of a step in the middle of a run; no value is made or read."""
    count, _ = counted_step(name, encoder)
    most = dict(count.by_name.most_common(8))
    return {"operators": count.operators, "gib": round(count.bytes / 2**30, 3), "most": most}


def counted_step(
    name: str,
    encoder: str,
    prepare: Callable[[Method], object] = lambda method: None,
    *,
    is_first: bool = False,  # in which the optimizer makes what it keeps
    settings: Mapping[str, Any] | None = None,  # of the method; None: its defaults
) -> tuple[Count, Method]:
    """The count of a step in the middle of a run, and whose it is, which was prepared before."""
    optimizer, clipping = ENCODERS[encoder]
    torch.manual_seed(0)
    backbone = create_backbone(encoder, image_size_px=224, other_sizes_px=(96,))
    method = create_method(name, backbone, settings or {})
    method.prepare(4096)  # DeepCluster v2 has 3,000 prototypes, and an image for each
    method.to(ELSEWHERE).train()
    prepare(method)
    loop = LoopConfig(batch_size=IMAGES, precision="fp32", **clipping)
    parts: Any = SimpleNamespace(
        config=SimpleNamespace(loop=loop),
        method=method,
        optimizer=build_optimizer(method, OptimSettings(name=optimizer), IMAGES),
        device=ELSEWHERE,
    )
    with _without_numbers():
        if not is_first:
            optimizer_step(method, parts, iter([_views()]), Progress(10, 100, 10))
        with Count() as count:
            optimizer_step(method, parts, iter([_views()]), Progress(11, 100, 10))
    return count, method


@contextlib.contextmanager
def _without_numbers() -> Iterator[None]:
    """Autocast and generators know no meta tensors."""
    with (
        patch.object(torch, "autocast", lambda *_, **__: contextlib.nullcontext()),
        patch.object(torch, "Generator", _AnyGenerator),
    ):
        yield


def _views() -> Any:
    crops = tuple(torch.empty(v, IMAGES, 3, s, s, device=ELSEWHERE) for v, s in SIZES)
    return SimpleNamespace(crops=crops, ids=np.arange(IMAGES), origin=None, labels=None)


if __name__ == "__main__":
    sys.exit(main())
