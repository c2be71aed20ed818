"""All that needs an NVIDIA GPU in one command: parity, profiles, bf16 SwAV steps, the fused losses.

    python benchmarks/gpu_check.py [--quick] [--out benchmarks/results/NAME-OF-THE-GPU.json]

A step's result (gpu_steps.py) stands in the file as soon as it is there. A step that fails leaves
its reason and the others still run; the exit code is then 1. A backend that is not there is left
out, which is no failure. What is timed are 500x375 JPEGs (photographs.py), SwAV 2+6 views of 224
and 96 px, decoded by DALI on the GPU where it is installed, else by Pillow.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from gpu_steps import FULL, NOT_INSTALLED, QUICK, TRIAL, Step, StepError, all_steps

from shards.errors import UsageError, run_command
from tools.measure import conditions

RESULTS = Path(__file__).parent / "results"


def main(argv: list[str] | None = None) -> int:
    """Run all steps; returns the exit code: 1 when one failed, 2 without a GPU."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _check(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu_check.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="default: benchmarks/results, by the GPU's name")
    add("--quick", action="store_true", help="a minute or two less of timing; parity in full")
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
    if not out.parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {out}; make it first")
    scale = TRIAL if not on_cuda else QUICK if options.quick else FULL
    results: dict[str, dict[str, Any]] = {}
    report = {
        "conditions": _conditions(options.device),
        "settings": asdict(scale),
        "results": results,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, step in all_steps(scale, options.device, Path(folder)).items():
            print(f"{name} ...", flush=True)
            results[name] = _attempt(step)
            _write(out, report)
            print("  " + _headline(results[name]), flush=True)
    print(f"written to {out}")
    return int(any(result["status"] == "failed" for result in results.values()))


def _attempt(step: Step) -> dict[str, Any]:
    """The step's figures with its status; whatever goes wrong is a result too."""
    start = time.perf_counter()
    try:
        figures = step()
    except StepError as error:
        result = {"status": "failed", "reason": str(error), "tail": error.tail}
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
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, out)


def _headline(result: dict[str, Any]) -> str:
    reason = f": {result['reason']}" if "reason" in result else ""
    return f"{result['status']} in {result['step_seconds']} s{reason}"


def _conditions(device: str) -> dict[str, Any]:
    """Also what tools/measure.py does not know: the card, its driver, CUDA, what is missing."""
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
