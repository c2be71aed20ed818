"""The steps of gpu_check.py: each runs a command of the project and reads the figures it leaves.

A command is a process of its own, so that one that crashes leaves the others a sound GPU. A step
returns its figures, or a sentence where there is nothing to run; it raises StepError when it fails.
"""

import importlib.util
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from photographs import pack_photographs

from augengine.backends.table import BACKENDS, has_dali, has_fused
from trainer.log import read_metrics

Step = Callable[[], dict[str, Any] | str]

ROOT = Path(__file__).parents[1]
COMMAND_LIMIT_S = 600
NUM_WINDOWS = 3  # of training steps whose images/s are kept; one before them warms up
NUM_TAIL_LINES = 60
NOT_INSTALLED = "not installed"
TESTS_OF = {"fused": ("fused",), "dali": ("dali", "gpu_decodes"), "kornia": ("kornia",)}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    num_images: int = 256
    sizes: str = "224+96"
    profile_batch_size: int = 256
    seconds: float = 10  # of each row of the profile
    workers: int = 8
    train_batch_size: int = 64
    train_steps: int = 10  # a window
    encoder: tuple[str, ...] = ("arch=resnet50",)
    parity_mark: str = "gpu"
    parity_tests: str = ""  # part of a name; empty: all
    loss_tests: str = ""  # likewise
    losses: str = ""  # of benchmarks/loss_problems.py; empty: all


FULL = Scale()
QUICK = Scale(seconds=2, train_steps=4)
TRIAL = Scale(
    num_images=8,
    sizes="32+16",
    profile_batch_size=4,
    seconds=0.01,
    workers=1,
    train_batch_size=4,
    train_steps=1,
    encoder=("arch=resnet10", "width=0.125", "stem=small"),
    parity_mark="not gpu",
    parity_tests="wider_than_half and kornia",
    loss_tests="test_fused_cosine",
    losses="byol",
)


class StepError(Exception):
    """A step that failed: one line, and the end of what its command printed."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.tail = output.splitlines()[-NUM_TAIL_LINES:]


def all_steps(scale: Scale, device: str, folder: Path) -> dict[str, Step]:
    """What is done, in order; data and runs lie in `folder`."""
    data = folder / "shards-of-photographs"
    return {
        "photographs": partial(_photographs, scale, data),
        "parity": partial(_parity, scale, device),
        **{f"profile {name}": partial(_profile, scale, device, name, data) for name in BACKENDS},
        "swav bf16": partial(_train, scale, device, data),
        "resident": partial(_resident, scale, device, data),
        "loss parity": partial(_loss_parity, scale),
        "losses": partial(_losses, scale, device, folder),
    }


def _photographs(scale: Scale, data: Path) -> dict[str, Any]:
    pack_photographs(scale.num_images, data)
    return {"images": scale.num_images}


def _parity(scale: Scale, device: str) -> dict[str, Any]:
    """Tests of backends that are not installed would fail, and hide whether the others do."""
    absent = [name for name in BACKENDS if _why_absent(name, device) == NOT_INSTALLED]
    chosen = [scale.parity_tests] if scale.parity_tests else []
    chosen += [f"not {part}" for name in absent for part in TESTS_OF[name]]
    return {**_pass("tests/augengine", scale.parity_mark, chosen), "not_installed": absent}


def _loss_parity(scale: Scale) -> dict[str, Any]:
    """Every fused loss on CUDA against float64, its bits, and as a CUDA graph."""
    chosen = [scale.loss_tests] if scale.loss_tests else []
    return _pass("tests/trainer/losses", scale.parity_mark, chosen)


def _pass(tests: str, mark: str, chosen: list[str]) -> dict[str, Any]:
    """Run tests; how many passed, failed or were skipped."""
    arguments = [tests, "-q", "-p", "no:cacheprovider", "-m", mark]
    done = _run("pytest", *arguments, *(["-k", " and ".join(chosen)] if chosen else []))
    last = done.stdout.rstrip().rpartition("\n")[2]
    found = {kind.rstrip("s"): int(number) for number, kind in re.findall(r"(\d+) ([a-z]+)", last)}
    counts = {kind: found.get(kind, 0) for kind in ("passed", "failed", "error", "skipped")}
    if done.returncode or not counts["passed"]:
        summary = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        reason = f"tests pass and at least one runs, got {summary}; {_ending(done)}"
        raise StepError(reason, done.stdout + done.stderr)
    return counts


def _profile(scale: Scale, device: str, backend: str, data: Path) -> dict[str, Any] | str:
    """Decode alone, the backend alone, the loader; after a comparison with the reference."""
    if reason := _why_absent(backend, device):
        return reason
    report = data.parent / f"profile-{backend}.json"
    arguments = ["--data", data, "--views", "2+6", "--sizes", scale.sizes, "--backends", backend]
    arguments += ["--device", device, "--batch-size", scale.profile_batch_size]
    arguments += ["--workers", scale.workers, "--seconds", scale.seconds, "--json", report]
    _succeed("tools.profile_augment", *arguments)
    figures = json.loads(report.read_text(encoding="utf-8"))
    kept = ("settings", "errors_against_reference", "results")
    return {"decoder": _decoder(), **{name: figures[name] for name in kept}}


def _train(scale: Scale, device: str, data: Path) -> dict[str, Any]:
    """Images/s and data-wait of the windows of steps after the one that warms up."""
    backend = next(name for name in BACKENDS if not _why_absent(name, device))
    run, num_steps = data.parent / "run", (1 + NUM_WINDOWS) * scale.train_steps
    epochs = num_steps * scale.train_batch_size / scale.num_images
    arguments = ["--config", "swav", "--data", data, "--out", run, "--device", device]
    arguments += ["--views", "2+6", "--sizes", scale.sizes, "--backend", backend]
    arguments += ["--batch-size", scale.train_batch_size, "--epochs", epochs]
    arguments += [f"backbone.{key}" for key in scale.encoder]
    arguments += ["loop.precision=bf16", f"data.workers={scale.workers}"]
    # A checkpoint at the end only: writing one would count as steps that took long.
    arguments += [f"run.log_every={scale.train_steps}", f"run.save_every_steps={num_steps}"]
    _succeed("trainer.run", *arguments)
    windows = [record for record in read_metrics(run) if "images_per_s" in record][1:]
    if len(windows) != NUM_WINDOWS:
        raise StepError(f"a run leaves {1 + NUM_WINDOWS} records, got {1 + len(windows)}")
    return {
        "backend": backend,
        "decoder": _decoder(),
        "steps": num_steps,
        "images_per_s": _spread([record["images_per_s"] for record in windows]),
        "data_wait": _spread([record["data_wait"] for record in windows]),
        "loss": windows[-1]["loss"],
    }


def _resident(scale: Scale, device: str, data: Path) -> dict[str, Any]:
    """Steps on real data beside steps on one batch that stays on the device."""
    out = data.parent / "resident.json"
    arguments = ["--data", data, "--config", "swav", "--device", device, "--out", out]
    arguments += ["--steps", scale.train_steps, "--seconds", 2 * scale.seconds]
    # Long enough for a middle of the run.
    epochs = 20 * scale.train_batch_size / scale.num_images
    overrides = [f"backbone.{key}" for key in scale.encoder]
    overrides += [f"policy.sizes={scale.sizes}", f"data.workers={scale.workers}"]
    overrides += [f"loop.batch_size={scale.train_batch_size}", f"loop.epochs={epochs}"]
    _succeed("benchmarks/resident.py", *arguments, *overrides)
    return json.loads(out.read_text(encoding="utf-8"))


def _losses(scale: Scale, device: str, folder: Path) -> dict[str, Any]:
    """Every form of every loss: milliseconds, memory, launches."""
    out = folder / "losses.json"
    chosen = ["--only", scale.losses] if scale.losses else []
    arguments = ["--device", device, "--seconds", scale.seconds, "--out", out]
    _succeed("benchmarks/losses.py", *arguments, *chosen)
    return json.loads(out.read_text(encoding="utf-8"))


def _why_absent(backend: str, device: str) -> str | None:
    """Why a backend cannot run here, or None; never loads DALI, which might crash this process."""
    there = {
        "dali": has_dali(),
        "fused": has_fused(torch.device(device)),
        "kornia": importlib.util.find_spec("kornia") is not None,
    }
    return None if there[backend] else NOT_INSTALLED


def _decoder() -> str:
    return "dali" if has_dali() else "pillow"  # as `auto` chooses


def _succeed(module: str, *arguments: object) -> None:
    """Run a command; StepError with its own error line when it fails."""
    done = _run(module, *arguments)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # Libraries may still say something while they go.
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1])
        raise StepError(f"{reason}; {_ending(done)}", done.stdout + done.stderr)


def _run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    what = [str(ROOT / module)] if module.endswith(".py") else ["-m", module]
    command = [sys.executable, *what, *map(str, arguments)]
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""  # bytes whatever `text` says
        text = output if isinstance(output, str) else output.decode(errors="replace")
        reason = f"{module} takes at most {COMMAND_LIMIT_S} s, got more; it was ended"
        raise StepError(reason, text) from error


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    code = done.returncode
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
