"""A run on disk: whole or absent, versioned, and loadable without running anybody's code.

`train.py` saves through `save` and continues through `load`. A file is written under another name,
synced and renamed, so a crash leaves the former checkpoint; it holds tensors and plain values
only, so `torch.load(weights_only=True)` reads it. `last.pt` is a second name of the newest file.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shards.errors import DataError, UsageError

CHECKPOINT_VERSION = 1
FOLDER_NAME = "checkpoints"
LAST_NAME = "last.pt"
KEYS = (
    "version",
    "step",
    "cursor",  # Cursor.state_dict()
    "method",  # backbone, heads, teacher, prototypes, queue
    "optimizer",
    "seed",
    "data_fingerprint",
    "config",  # the resolved config as nested plain values
    "torch_version",
)
_KINDS = {"step": int, "method": dict, "optimizer": dict, "data_fingerprint": str, "config": dict}
_STEP_NAME = re.compile(r"step-(\d+)\.pt")


def save(run: Path, state: Mapping[str, Any], *, keep: int) -> Path:
    """Write `state` (KEYS but version) as step-N.pt, link last.pt to it, keep the newest few."""
    assert set(state) == set(KEYS) - {"version"}, sorted(state)
    folder = run / FOLDER_NAME
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{state['step']:08d}.pt"
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            torch.save({"version": CHECKPOINT_VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"a checkpoint needs a writable folder with room, got {error} for {path}; "
            f"free space and continue with --resume"
        ) from error
    _point_last_at(path)
    for old in steps(run)[:-keep]:
        old.unlink()
    return path


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; DataError when it is torn, of another version or has unknown keys."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise DataError(
            f"a checkpoint must be a whole file written by this trainer, got {path} "
            f"({type(error).__name__}); use another one of {path.parent}"
        ) from error
    version = state.get("version") if isinstance(state, dict) else None
    if not isinstance(version, int) or version != CHECKPOINT_VERSION:
        raise DataError(
            f"checkpoint version must be {CHECKPOINT_VERSION}, got {version} in {path}; "
            "load it with the release that wrote it"
        )
    if set(state) != set(KEYS):
        odd = sorted(map(str, set(state) ^ set(KEYS)))
        raise DataError(
            f"a checkpoint holds {', '.join(KEYS)}; {path} differs in {', '.join(odd)}; "
            "load it with the release that wrote it"
        )
    for key, kind in _KINDS.items():
        if not isinstance(state[key], kind):
            raise DataError(
                f"a checkpoint's {key} is a {kind.__name__}, got a {type(state[key]).__name__} in "
                f"{path}; use another one of {path.parent}"
            )
    return state


def load_child(module: nn.Module, name: str, state: Mapping[str, Any]) -> None:
    """Load one child of a method; heads, and memories of other images than these, stay behind."""
    prefix, weights = f"{name}.", state["method"]
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    module.get_submodule(name).load_state_dict(own)


def find(run: Path, which: str = "last") -> Path:
    """The file that `last`, a step number or a path names; UsageError when there is none."""
    if not (run / FOLDER_NAME).is_dir():
        raise UsageError(
            f"a run has a {FOLDER_NAME} folder, got {run} without one; start one with --out {run}"
        )
    available = steps(run)
    if which == "last" and available:
        return available[-1]
    if which.isdigit():
        path = run / FOLDER_NAME / f"step-{int(which):08d}.pt"
    else:
        path = Path(which)
    if not path.is_file():
        names = ", ".join(str(_step(p)) for p in available) or "none"
        raise UsageError(
            f"a checkpoint is last, a step number or a file, got {which}; {run} has: {names}"
        )
    return path


def steps(run: Path) -> list[Path]:
    """The numbered checkpoints of a run, oldest first; half-written ones have another name."""
    return sorted((p for p in (run / FOLDER_NAME).glob("step-*.pt") if _step(p) >= 0), key=_step)


def _step(path: Path) -> int:
    match = _STEP_NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _point_last_at(path: Path) -> None:
    """Make last.pt a relative link to the newest file, for people; we go by numbers."""
    link = path.parent / LAST_NAME
    temporary = path.parent / f".{LAST_NAME}.{os.getpid()}.tmp"
    try:
        temporary.symlink_to(path.name)
        os.replace(temporary, link)
    except OSError:
        temporary.unlink(missing_ok=True)  # a file system without links: the numbered names suffice
