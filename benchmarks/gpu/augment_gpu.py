"""The GPU's own time for a batch's views: both forms of the fused backend, by launch.

A clock on the host also sees the host: drawing, records, starting kernels. Here a kernel that only
waits goes first, so that everything stands in the stream's queue before the first launch begins,
and events around the batches time what the GPU did, the upload of records included. The two forms
take turns. Content does not matter to these kernels, so the images are noise; sizes and windows do.

    python -m benchmarks.gpu.augment_gpu --out benchmarks/results/augment_gpu.json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from augengine.backends.create_backend import DTYPES
from augengine.backends.fused_cuda import FusedCudaBackend
from augengine.draw import draw_plan
from augengine.plan import Plan
from augengine.policies import load_policy
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from tools.profiling.byte_bound import count_bytes

HEIGHT, WIDTH = 375, 500
NUM_PLANS = 4  # a round; each is a batch
WAIT_CYCLES = 200_000_000  # some 0.1 s: longer than the host takes to start a round
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
# The forms differ by float16 between the steps (tests/tolerances.py): 0.4 levels of 255, at the
# smallest std, and the rounding of a bfloat16 below 4.
GATE = 0.4 / 255 / 0.22 + 2**-6


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write the figures; returns the exit code."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.gpu.augment_gpu", __doc__)
    add = parser.add_argument
    add("--policy", default="swav", help="default: %(default)s")
    add("--views", default="2+6", help="default: %(default)s")
    add("--dtype", default="bfloat16", choices=DTYPE_NAMES, help="default: %(default)s")
    add("--batch-size", type=int, default=256, help="images, default: %(default)s")
    add("--rounds", type=int, default=7, help="default: %(default)s")
    add("--out", type=Path, help="JSON")
    return parser


def _run(given: argparse.Namespace) -> int:
    if not torch.cuda.is_available():
        raise UsageError("augment_gpu needs an NVIDIA GPU, torch sees none; run it where one is")
    dtype = DTYPE_NAMES[given.dtype]
    policy = load_policy(given.policy).with_views(tuple(map(int, given.views.split("+"))))
    sizes = np.tile(np.array([[HEIGHT, WIDTH]], np.int32), (given.batch_size, 1))
    ids = np.arange(given.batch_size)
    plans = [draw_plan(policy, ids, np.full(len(ids), e), sizes, seed=0) for e in range(NUM_PLANS)]
    images = list(torch.randint(256, (len(ids), HEIGHT, WIDTH, 3), dtype=torch.uint8).cuda())
    forms = {name: FusedCudaBackend("cuda", dtype, exact=name == "exact") for name in FORMS}
    _hold_together(forms, images, plans[0])
    rounds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(given.rounds):
        for name, backend in forms.items():
            rounds[name].append(_gpu_ms(lambda b=backend: [b(images, plan) for plan in plans]))
    bound = count_bytes(policy, HEIGHT, WIDTH, dtype.itemsize)
    found = {
        "device": torch.cuda.get_device_name(),
        "settings": {k: str(v) for k, v in vars(given).items() if k != "out"},
        "bytes_an_image": bound.total,
        "forms": {
            name: {
                "gpu_ms_a_batch": _spread([ms / NUM_PLANS for ms in rounds[name]]),
                "images_per_s": len(ids) * NUM_PLANS / statistics.median(rounds[name]) * 1e3,
                "host_ms_a_batch": _host_ms(backend, images, plans),
                "launches_ms_a_batch": _launches(backend, images, plans),
            }
            for name, backend in forms.items()
        },
    }
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        write_whole(given.out, text + "\n")
    return 0


FORMS = ("half", "exact")


def _hold_together(
    forms: dict[str, FusedCudaBackend], images: list[torch.Tensor], plan: Plan
) -> None:
    """Both forms make the same views, but for solarize's threshold; they are compiled by this."""
    half, exact = (forms[name](images, plan) for name in FORMS)
    for a, b in zip(half, exact, strict=True):
        away = ((a.float() - b.float()).abs() > GATE).float().mean().item()
        if not away < 1e-4:
            raise UsageError(f"both forms agree on all but 0.01 % of values, got {away:.2%} away")


def _gpu_ms(call: Callable[[], object]) -> float:
    """Milliseconds of the GPU for what `call` puts into the stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(WAIT_CYCLES)
    start.record()
    call()
    if start.query():
        raise UsageError(
            "a round is in the queue before WAIT_CYCLES are over, got it later; use a smaller batch"
        )
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def _host_ms(backend: FusedCudaBackend, images: list[torch.Tensor], plans: list[Plan]) -> float:
    """CPU milliseconds to start a batch."""
    torch.cuda.synchronize()
    begin = time.thread_time()
    for plan in plans:
        backend(images, plan)
    spent = time.thread_time() - begin
    torch.cuda.synchronize()
    return 1e3 * spent / len(plans)


def _launches(
    backend: FusedCudaBackend, images: list[torch.Tensor], plans: list[Plan]
) -> dict[str, float]:
    """Milliseconds of each kernel and copy, as torch's profiler saw them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for plan in plans:
            backend(images, plan)
        torch.cuda.synchronize()
    return {
        event.key: event.device_time_total / 1e3 / len(plans)
        for event in seen.key_averages()
        if event.device_time_total
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    sys.exit(main())
