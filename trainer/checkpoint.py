"""A run on disk: whole or absent, versioned, and loadable without running anybody's code.

`train.py` saves through `save` and continues through `load_newest`. A file is written under another
name, synced and renamed (atomic.py), so a crash leaves the former checkpoint; it holds tensors and
plain values only, so `torch.load(weights_only=True)` reads it. `last.pt` and `best.pt` are second
names of the newest file and of the one with the best kNN score.
"""

import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from shards.atomic import atomic_file, remove_leftovers
from shards.errors import DataError, UsageError
from shards.terminal.counted import counted
from trainer.nets.finite import not_finite

CHECKPOINT_VERSION = 1
FOLDER_NAME = "checkpoints"
LINKS = ("last", "best")
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


def save(run: Path, state: Mapping[str, Any], *, keep: int, best: int | None = None) -> Path:
    """Write `state` (KEYS but version) as step-N.pt, link last.pt to it, keep the newest few.

    `best` is the step that best.pt names from now on; None: it names what it did. That is kept too.
    """
    assert set(state) == set(KEYS) - {"version"}, sorted(state)
    folder = run / FOLDER_NAME
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    path = _path(run, state["step"])
    with atomic_file(path) as file:
        torch.save({"version": CHECKPOINT_VERSION, **state}, file)
    _link("last", path)
    if best is not None:
        mark_best(run, best)
    # Files of later steps could not be read; each is replaced when it is its turn.
    former = [old for old in steps(run) if _step(old) <= state["step"]]
    named = (folder / "best.pt").resolve().name
    for old in former[:-keep]:
        if _step(old) != best and old.name != named:
            old.unlink()
    return path


def mark_best(run: Path, step: int) -> None:
    """Let best.pt name the checkpoint of this step, if there is one."""
    if _path(run, step).is_file():
        _link("best", _path(run, step))


def load_newest(
    run: Path, warn: Callable[[str], None], may_be_odd: Collection[str] = ()
) -> dict[str, Any]:
    """The newest checkpoint that is whole and finite; each newer one is named through `warn`.

    `may_be_odd` are the tensors of the method that hold NaN or infinity on purpose.

    Raises:
        DataError: there are files, and none can be read.
        UsageError: there are none.
    """
    folder = find(run).parent
    for path in reversed(steps(run)):
        try:
            state = load(path)
            require_finite(state, path, may_be_odd)
            return state
        except DataError as error:
            warn(f"{error}; going on from the one before")
    raise DataError(
        f"a run continues from a checkpoint that can be read, got none in {folder}; start "
        "another run with another --out"
    )


def load_step(run: Path, step: int) -> dict[str, Any]:
    """The checkpoint that another rank has found; DataError where this one cannot see it."""
    path = _path(run, step)
    if not path.is_file():
        raise DataError(
            f"all machines share one --out folder, got no {path} here, which the first rank reads; "
            "put --out on a file system that all of them mount"
        )
    return load(path)


def load(path: Path) -> dict[str, Any]:
    """To the host; DataError when it is torn, of another version or has unknown keys."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
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


def require_finite(state: Mapping[str, Any], path: Path, may_be_odd: Collection[str] = ()) -> None:
    """DataError when weights, buffers or the optimizer's state hold NaN or infinity."""
    watched = {k: v for k, v in state["method"].items() if k not in may_be_odd}
    odd = not_finite({"method": watched, "optimizer": state["optimizer"]})
    if odd:
        raise DataError(
            "a checkpoint's weights are finite, got NaN or infinity in "
            f"{counted(len(odd), 'tensor')} of {path} "
            f"({', '.join(odd[:3])}{', ...' * (len(odd) > 3)}); use another one of {path.parent}"
        )


def child_weights(state: Mapping[str, Any], name: str) -> dict[str, torch.Tensor]:
    """The tensors of one child of a method; heads, and memories of other images, stay behind."""
    prefix, weights = f"{name}.", state["method"]
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def find(run: Path, which: str = "last") -> Path:
    """The file that `last`, a step number or a path names; UsageError when there is none."""
    if not (run / FOLDER_NAME).is_dir():
        raise UsageError(
            f"a run has a {FOLDER_NAME} folder, got {run} without one; start one with --out "
            f"{shlex.quote(str(run))}"
        )
    available = steps(run)
    if which == "last" and available:
        return available[-1]
    if which in LINKS:
        path = run / FOLDER_NAME / f"{which}.pt"
    else:
        path = _path(run, int(which)) if which.isdecimal() else Path(which)
    if not path.is_file():
        raise UsageError(_not_there(run, which, available))
    return path


def _not_there(run: Path, which: str, available: list[Path]) -> str:
    """What is missing in a run, and what there is to take in its place."""
    if not available:
        return (
            f"a checkpoint is needed, got {run} without one: the run ended before its first; begin "
            "it again, with its --data and --overwrite"
        )
    names = ", ".join(str(_step(path)) for path in available)
    if which == "best":
        return (
            f"the best checkpoint is that of the highest kNN while training, got none in {run}; "
            f"take last or one of the steps {names}, or train with --eval-data"
        )
    return f"a checkpoint is last, best, a step number or a file, got {which}; {run} has: {names}"


def steps(run: Path) -> list[Path]:
    """The numbered checkpoints of a run, oldest first; half-written ones have another name."""
    return sorted((p for p in (run / FOLDER_NAME).glob("step-*.pt") if _step(p) >= 0), key=_step)


def kept_steps(run: Path) -> list[int]:
    """The steps of a run's checkpoints, ascending."""
    return [_step(path) for path in steps(run)]


def _path(run: Path, step: int) -> Path:
    return run / FOLDER_NAME / f"step-{step:08d}.pt"


def _step(path: Path) -> int:
    match = _STEP_NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _link(name: str, path: Path) -> None:
    """Make NAME.pt a relative link to a numbered file, for people; `last` we find by number."""
    link = path.with_name(f"{name}.pt")
    temporary = path.with_name(f".{link.name}.{os.getpid()}.tmp")
    try:
        temporary.symlink_to(path.name)
        os.replace(temporary, link)
    except OSError:
        temporary.unlink(missing_ok=True)  # a file system without links: the numbered names suffice
