"""The steps of gpu_check.py, the most valuable first: each runs commands and reads their figures.

A step returns its figures, or a sentence where there is nothing to run; it raises StepError, which
may hold figures too, when it fails.
"""

import importlib.util
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from augengine.backends.create_backend import BACKENDS, has_fused
from augengine.devices.installed import has_dali
from benchmarks.augment.photographs import pack_photographs
from benchmarks.gpu import fast_run
from benchmarks.gpu.gpu_command import StepError, pass_tests, succeed
from benchmarks.gpu.gpu_scale import Scale
from trainer.record.log import read_metrics

Found = dict[str, Any] | str

NUM_WINDOWS = 3  # of training steps whose images/s are kept; one before them warms up
NUM_ROUNDS = 3
NOT_INSTALLED = "not installed"
NEEDED = ("photographs",)  # by other steps
TESTS_OF = {"dali": ("dali", "gpu_decodes"), "kornia": ("kornia",)}
# All files with tests that need a GPU: collecting the others would need what they import.
FUSED_TESTS = (
    "tests/augengine/kernels/test_gpu_fused.py",
    "tests/augengine/backends/test_parity.py",
)
OTHER_TESTS = (
    "tests/augengine/backends/test_parity.py",
    "tests/augengine/caches/test_sample_cache.py",
    "tests/augengine/decoders/test_decode.py",
    "tests/augengine/decoders/test_decoder_tuning.py",
    "tests/augengine/decoders/test_nvimgcodec.py",
    "tests/augengine/loader/test_make_views.py",
)


class Step(NamedTuple):
    """One step of the check, and the seconds it may take."""

    limit_s: float
    call: Callable[[float], Found]  # of the seconds that it may take now


def all_steps(
    scale: Scale,
    device: str,
    folder: Path,  # of data and runs
    cifar10: tuple[str, str] | None = None,  # its shards, to train on and to score
) -> dict[str, Step]:
    """The steps of the check in order."""
    data = folder / "shards-of-photographs"
    profiles = {
        f"profile {name}": Step(90, partial(_profile, scale, device, name, data))
        for name in BACKENDS
    }
    return {
        "photographs": Step(60, partial(_photographs, scale, data)),
        "parity fused": Step(150, partial(_parity_of_fused, scale, device)),
        "fused alone": Step(60, partial(_fused_alone, device, folder)),
        **profiles,
        "resident": Step(100, partial(_resident, scale, device, data)),
        "decoders": Step(60, partial(_decoders, scale, device, folder)),
        "loss parity": Step(150, partial(_loss_parity, scale)),
        "losses": Step(240, partial(_losses, scale, device, folder)),
        "parity of the others": Step(120, partial(_parity_of_others, scale, device)),
        "swav bf16": Step(90, partial(_train, scale, device, data)),
        # Last: it takes about as long as all the others.
        fast_run.NAME: Step(
            fast_run.LIMIT_S, partial(fast_run.train_fast, cifar10, device, folder)
        ),
    }


def _photographs(scale: Scale, data: Path, limit_s: float) -> Found:
    # In this process: others would import all that it has, which takes longer.
    pack_photographs(scale.num_images, data, workers=1)
    return {"images": scale.num_images}


def _parity_of_fused(scale: Scale, device: str, limit_s: float) -> Found:
    if reason := _why_absent("fused", device):
        return reason
    return pass_tests(limit_s, scale.mark, _all_of("fused", scale.chosen), *FUSED_TESTS)


def _parity_of_others(scale: Scale, device: str, limit_s: float) -> Found:
    """Tests of backends that are not installed would fail, and hide whether the others do."""
    absent = [name for name in TESTS_OF if _why_absent(name, device)]
    left_out = [f"not {part}" for name in absent for part in TESTS_OF[name]]
    chosen = _all_of("not fused", scale.chosen, *left_out)
    return {**pass_tests(limit_s, scale.mark, chosen, *OTHER_TESTS), "not_installed": absent}


def _loss_parity(scale: Scale, limit_s: float) -> Found:
    """Every fused loss on CUDA against float64, its bits, and as a CUDA graph."""
    return pass_tests(limit_s, scale.mark, "", *scale.loss_tests)


def _all_of(*conditions: str) -> str:
    return " and ".join(filter(None, conditions))


def _fused_alone(device: str, folder: Path, limit_s: float) -> Found:
    """The GPU's own time for a batch's views, in both forms of the fused backend."""
    if reason := _why_absent("fused", device):
        return reason
    if device != "cuda":
        return "no GPU whose time it could be"
    out = folder / "augment_gpu.json"
    succeed(limit_s, "benchmarks.gpu.augment_gpu", "--out", out)
    return json.loads(out.read_text(encoding="utf-8"))


def _profile(scale: Scale, device: str, backend: str, data: Path, limit_s: float) -> Found:
    """Decode alone, the backend alone, the loader; after a comparison with the reference."""
    if reason := _why_absent(backend, device):
        return reason
    report = data.parent / f"profile-{backend}.json"
    arguments = ["--data", data, "--views", "2+6", "--sizes", scale.sizes, "--backends", backend]
    arguments += ["--device", device, "--dtype", "bfloat16"]
    arguments += ["--batch-size", scale.profile_batch_size, "--workers", scale.workers]
    arguments += ["--seconds", scale.seconds, "--json", report]
    succeed(limit_s, "tools.profile_augment", *arguments)
    figures = json.loads(report.read_text(encoding="utf-8"))
    kept = ("settings", "errors_against_reference", "results")
    return {"decoder": _decoder(), **{name: figures[name] for name in kept}}


def _train(scale: Scale, device: str, data: Path, limit_s: float) -> Found:
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
    succeed(limit_s, "trainer.run", *arguments)
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


def _resident(scale: Scale, device: str, data: Path, limit_s: float) -> Found:
    """Steps on real data beside steps on one batch that stays on the device."""
    out = data.parent / "resident.json"
    arguments = ["--data", data, "--config", "swav", "--device", device, "--out", out]
    arguments += ["--steps", scale.train_steps, "--seconds", 2 * scale.seconds]
    arguments += ["--rounds", NUM_ROUNDS]
    # Long enough for a middle of the run.
    epochs = 20 * scale.train_batch_size / scale.num_images
    overrides = [f"backbone.{key}" for key in scale.encoder]
    overrides += [f"policy.sizes={scale.sizes}", f"data.workers={scale.workers}"]
    overrides += [f"loop.batch_size={scale.train_batch_size}", f"loop.epochs={epochs}"]
    succeed(limit_s, "benchmarks.gpu.resident", *arguments, *overrides)
    return {"decoder": _decoder(), **json.loads(out.read_text(encoding="utf-8"))}


def _decoders(scale: Scale, device: str, folder: Path, limit_s: float) -> Found:
    """DALI and nvImageCodec with the hardware engine and without; whether pixels stay the same."""
    if not has_dali():
        return NOT_INSTALLED
    out = folder / "decoders_gpu.json"
    arguments = ["--device", device, "--images", scale.profile_batch_size, "--out", out]
    arguments += ["--rounds", NUM_ROUNDS, "--threads", scale.workers]
    succeed(limit_s, "benchmarks.gpu.decoders_gpu", *arguments)
    return json.loads(out.read_text(encoding="utf-8"))


def _losses(scale: Scale, device: str, folder: Path, limit_s: float) -> Found:
    """Every form of every loss: milliseconds, memory, launches; those that there was time for."""
    out = folder / "losses.json"
    chosen = ["--only", scale.losses] if scale.losses else []
    arguments = ["--device", device, "--seconds", scale.loss_seconds, "--out", out]
    arguments += ["--rounds", NUM_ROUNDS]
    try:
        succeed(limit_s, "benchmarks.losses.forms", *arguments, *chosen)
    except StepError as error:
        if out.is_file():
            error.figures |= json.loads(out.read_text(encoding="utf-8"))
        raise
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


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
