"""All that needs an NVIDIA GPU in one command: parity, profiles, bf16 SwAV steps, the fused losses.

    python -m benchmarks.gpu.gpu_check [--minutes 12] [--only STEP,STEP] [--out FILE]
    python -m benchmarks.gpu.gpu_check --only "fast cifar10" --cifar10 TRAIN,TEST --minutes 10

The most valuable steps come first (gpu_steps.py), each says how long it may take, and its result
stands in the file as soon as it is there. A step that fails leaves its reason and the others still
run; the exit code is then 1. What is not installed, or comes when the time is up, is left out,
which is no failure; `--only` runs some steps and adds them to the file. What is timed are 500x375
JPEGs (photographs.py), SwAV 2+6 views of 224 and 96 px in bfloat16, decoded by DALI on the GPU
where it is installed, else by Pillow.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.fast_run import read_sets
from benchmarks.gpu.gpu_command import StepError
from benchmarks.gpu.gpu_scale import FULL, TRIAL
from benchmarks.gpu.gpu_steps import NEEDED, NOT_INSTALLED, Step, all_steps
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from shards.terminal.output_file import check_output
from trainer.checks import choose
from trainer.record.conditions import conditions

LEAST_S = 10  # with less left no step is begun
RESULTS = Path(__file__).parents[1] / "results"


def main(argv: list[str] | None = None) -> int:
    """Run all steps; returns the exit code: 1 when one failed, 2 without a GPU."""
    return run_command(lambda: _check(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.gpu.gpu_check", __doc__)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="default: benchmarks/results, by the GPU's name")
    add("--minutes", type=float, default=12, metavar="N", help="in all (default: %(default)s)")
    add("--cifar10", metavar="TRAIN,TEST", help="its shards, for the step 'fast cifar10'")
    add("--only", metavar="STEPS", help="as the file names them: parity fused,losses")
    add(
        "--device",
        default="cuda",
        choices=("cuda", "cpu"),
        help="cpu tries this script itself on tiny data (default: %(default)s)",
    )
    return parser


def _check(options: argparse.Namespace) -> int:
    on_cuda = options.device == "cuda"
    if on_cuda and not torch.cuda.is_available():
        raise UsageError(
            "the GPU check needs an NVIDIA GPU and a torch with CUDA, got none; run it where they "
            "are, or try the script itself with --device cpu"
        )
    out = options.out or RESULTS / f"{_slug(options.device)}.json"
    check_output("--out", out)
    sets = read_sets(options.cifar10)
    scale = FULL if on_cuda else TRIAL
    end = time.perf_counter() + 60 * options.minutes
    results = _former(out) if options.only else {}
    report = {
        "conditions": _conditions(options.device),
        "settings": asdict(scale),
        "results": results,
    }
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        steps = all_steps(scale, options.device, Path(folder), sets)
        for name in _chosen(options.only, steps):
            limit_s = min(steps[name].limit_s, end - time.perf_counter())
            print(f"{name}: at most {max(0, limit_s):.0f} s ...", flush=True)
            results[name] = _attempt(steps[name], limit_s)
            _write(out, report)
            print("  " + _headline(results[name]), flush=True)
            failed |= results[name]["status"] == "failed"
    print(f"written to {out}")
    return int(failed)


def _chosen(only: str | None, steps: dict[str, Step]) -> list[str]:
    """The names of the steps to run, in their order; with those that others need."""
    names = list(steps) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        choose("step", name, steps)
    return [name for name in steps if name in names or name in NEEDED]


def _former(out: Path) -> dict[str, dict[str, Any]]:
    """The results that the file holds already."""
    return json.loads(out.read_text(encoding="utf-8"))["results"] if out.is_file() else {}


def _attempt(step: Step, limit_s: float) -> dict[str, Any]:
    """The step's figures with its status; whatever goes wrong is a result too."""
    if limit_s < LEAST_S:
        return {"status": "left out", "reason": "no time is left", "step_seconds": 0.0}
    start = time.perf_counter()
    try:
        figures = step.call(limit_s)
    except StepError as error:
        known = {"reason": str(error), "tail": error.tail}
        result = {"status": "failed", **known, **error.figures}
    except Exception as error:  # the other steps may still tell something
        result = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    else:
        if isinstance(figures, str):
            result = {"status": "left out", "reason": figures}
        else:
            result = {"status": "passed", **figures}
    return {**result, "step_seconds": round(time.perf_counter() - start, 1)}


def _write(out: Path, report: dict[str, Any]) -> None:
    """Whole or not at all: a machine may be taken away at any time."""
    write_whole(out, json.dumps(report, indent=2) + "\n")


def _headline(result: dict[str, Any]) -> str:
    reason = f": {result['reason']}" if "reason" in result else ""
    return f"{result['status']} in {result['step_seconds']} s{reason}"


def _conditions(device: str) -> dict[str, Any]:
    """Also what is unknown to `conditions`: the card, its driver, CUDA, what is missing."""
    known: dict[str, Any] = conditions()
    for library in ("nvidia-dali-cuda120", "kornia"):
        known["versions"].setdefault(library, NOT_INSTALLED)
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        known["gpu"] = properties.name
        known["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        known["driver"] = _driver()
        known["cuda"] = torch.version.cuda
    return known


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _slug(device: str) -> str:
    """A file's name: nvidia-h200 for NVIDIA H200."""
    if device == "cpu":
        return "cpu-trial"
    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
