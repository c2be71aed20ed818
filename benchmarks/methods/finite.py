"""What it costs to look at every weight after every step, beside the step itself.

    python -m benchmarks.methods.finite [--out benchmarks/results/finite.json]

A step is what a run makes: the method's forward and backward, the optimizer, the teacher; on random
views, since a loader takes no part. Step and look take turns; the figure is the ratio of their
medians. Memories of a data set's size (InstDisc) are looked at too, hence a case of their own.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from trainer.methods.method_table import create_method
from trainer.methods.protocol import Progress
from trainer.nets.backbones import create_backbone
from trainer.nets.finite import total_magnitude
from trainer.optim.create_optimizer import OptimSettings, build_optimizer
from trainer.record.conditions import conditions

# name -> arch, method, optimizer, images, side in pixels, images of the data set
CASES: dict[str, tuple[str, str, str, int, int, int]] = {
    "BYOL, ResNet-50, LARS": ("resnet50", "byol", "lars", 64, 96, 10_000),
    "DINO, ViT-S/16, AdamW": ("vit_small16", "dino", "adamw", 64, 96, 10_000),
    "InstDisc, ResNet-18, SGD, 200,000 rows": ("resnet18", "instdisc", "sgd", 64, 96, 200_000),
}
ROUNDS = 5


def main(argv: list[str] | None = None) -> int:
    """Time each case, print a line, and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).parents[1] / "results" / "finite.json"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    results = {}
    for name, case in CASES.items():
        results[name] = found = time_case(case, torch.device(args.device))
        print(
            f"{name}: step {found['step_ms']:.0f} ms, look {found['look_ms']:.2f} ms, "
            f"{found['share']:.2%} of the step; {found['values'] / 1e6:.1f} million values"
        )
    report = {"conditions": conditions() | {"device": args.device}, "results": results}
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def time_case(case: tuple[str, str, str, int, int, int], device: torch.device) -> dict[str, float]:
    """Medians over ROUNDS of a step and of a look, in turn, and how much is looked at."""
    arch, name, optimizer_name, images, side_px, num_images = case
    torch.manual_seed(0)
    method = create_method(name, create_backbone(arch, image_size_px=side_px), {})
    method.prepare(num_images)
    method.to(device)
    settings = OptimSettings(name=optimizer_name, base_lr=1e-3)
    optimizer = build_optimizer(method, settings, images)
    views: Any = SimpleNamespace(
        crops=(torch.randn(2, images, 3, side_px, side_px, device=device),), ids=np.arange(images)
    )
    steps, looks = [], []

    def look() -> torch.Tensor:
        return total_magnitude((method.state_dict(), list(optimizer.state.values())))

    for number in range(ROUNDS + 1):
        progress = Progress(number, 1000, 100)

        def step(progress: Progress = progress) -> None:
            optimizer.zero_grad(set_to_none=True)
            method.step(views, progress).loss.backward()
            method.before_optimizer(progress)
            optimizer.step()
            method.after_step(progress)

        steps.append(seconds(step, device))
        looks.append(seconds(look, device))
        assert bool(look().isfinite())
    method_state, optimizer_state = method.state_dict(), optimizer.state.values()
    tensors = [*method_state.values(), *(x for values in optimizer_state for x in values.values())]
    values = sum(x.numel() for x in tensors if isinstance(x, torch.Tensor))
    # The first of each warms up.
    step_s, look_s = statistics.median(steps[1:]), statistics.median(looks[1:])
    return {
        "step_ms": 1e3 * step_s,
        "look_ms": 1e3 * look_s,
        "share": look_s / step_s,
        "values": values,
    }


def seconds(call: Any, device: torch.device) -> float:
    """Of one call, with what it left on the device's queue."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
