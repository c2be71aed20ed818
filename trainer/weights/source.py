"""The tensors that `backbone.weights` names: of a file, a run of ours, or `timm:NAME`.

Reading runs nobody's code: safetensors is arrays and text, and a torch file is read weights-only,
with one class more, argparse.Namespace, which holds values and does nothing (DINO's, MAE's and
timm's checkpoints have one). A file that needs more is refused, with how to convert it.
"""

import argparse
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import trainer.checkpoint as checkpoint
from shards.errors import DataError, UsageError
from shards.plugins.optional_library import optional_library
from shards.terminal.counted import counted
from trainer.checks import choose
from trainer.methods.method_table import METHODS, method_class
from trainer.nets.finite import not_finite
from trainer.nets.recoloured import Colours
from trainer.weights.names import plain_names

TIMM = "timm:"
_KEYS = ("arch", "width", "stem", "heads")  # of `backbone`: what the tensors are of
_CHUNK_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class Source:
    """The tensors of a file, before anything is known of them."""

    where: str  # the file, or timm:NAME with timm's version
    sha256: str  # of the file; of timm's weights, of their names and values
    tensors: Mapping[str, torch.Tensor]  # by plain names
    backbone: Mapping[str, Any] = field(default_factory=dict)  # keys that the file tells
    layout: str | None = None  # where it is known without looking at names: ours, timm's
    part: str = ""  # where its encoder is then
    colours: Colours | None = None  # of the pixels that it takes, where that is told


def check_source(name: str, key: str = "backbone.weights") -> None:
    """UsageError unless there is such a file or run, or timm is there to be asked; reads little.

    `key` is the setting that has the name.
    """
    if name.startswith(TIMM):
        _timm(name, key)
        return
    path = _path(name, key)
    if not path.is_file():
        raise UsageError(
            f"{key} is a file, a run or timm:NAME, got {name}, which is not there; "
            "check the path (nothing is downloaded but by timm:NAME)"
        )


def read_source(name: str) -> Source:
    """The tensors that `backbone.weights` names, on the host.

    Raises:
        UsageError: it is not there.
        DataError: it cannot be read, holds no tensors, or NaN or infinity.
    """
    check_source(name)
    source = _from_timm(name) if name.startswith(TIMM) else _from_file(_path(name))
    if not source.tensors:
        raise DataError(f"weights hold tensors, got none in {source.where}; name another file")
    return source


def require_finite(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """DataError when weights that are taken hold NaN or infinity."""
    if odd := not_finite(tensors):
        raise DataError(
            f"weights are finite, got NaN or infinity in {counted(len(odd), 'tensor')} of {where}, "
            f"{odd[0]} among them; take an earlier checkpoint"
        )


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _path(name: str, key: str = "backbone.weights") -> Path:
    """The file; of a run its newest checkpoint."""
    path = Path(name).expanduser()
    if not path.is_dir():
        return path
    if not (path / checkpoint.FOLDER_NAME).is_dir():
        raise UsageError(
            f"a folder given as {key} is a run, got {name} without "
            f"{checkpoint.FOLDER_NAME}; name the file in it"
        )
    return checkpoint.find(path)


def _from_file(path: Path) -> Source:
    where, sha256 = str(path), sha256_of(path)
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # the length of a JSON header, and its beginning
        tensors, metadata = _read_safetensors(path)
        is_ours = {"arch", "method", "step"} <= set(metadata)
        backbone = _told(metadata) if is_ours else {}
        colours = _colours(metadata) if is_ours else None
        kind = "our export" if is_ours else None
        return Source(where, sha256, tensors, backbone, kind, colours=colours)
    state = _read_torch(path)
    if isinstance(state, Mapping) and set(checkpoint.KEYS) <= set(state):
        return _of_ours(state, where, sha256)
    backbone = state.get("backbone") if isinstance(state, Mapping) else None
    told = _told(backbone) if isinstance(backbone, Mapping) else {}
    return Source(where, sha256, plain_names(state, where), told)


def _of_ours(state: Mapping[str, Any], where: str, sha256: str) -> Source:
    """A checkpoint of a run: the encoder that is evaluated, as its method's class says."""
    config, method = state["config"], state["config"].get("method") or {}
    name = method.get("name")
    # A method of one's own is not imported for a file's sake: what it trains is its backbone.
    encoder = method_class(name).encoder_name if name in METHODS else "backbone"
    tensors = {key: value for key, value in state["method"].items() if torch.is_tensor(value)}
    layout = f"our checkpoint, {name} at step {state['step']}"
    backbone, colours = _told(config.get("backbone") or {}), _colours(config.get("policy") or {})
    return Source(where, sha256, tensors, backbone, layout, encoder, colours)


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a file's own words on its encoder those that are no default; texts become numbers."""
    told = {key: values[key] for key in _KEYS if values.get(key) not in (None, "none", "auto")}
    for key, kind in (("width", float), ("heads", int)):
        if key in told:
            told[key] = kind(told[key])
    if told.get("width") == 1:
        del told["width"]
    return told


def _colours(told: Mapping[str, Any]) -> Colours | None:
    """Mean and std that a policy, an export's texts or timm's say; None for anything else."""
    values = [told.get(key) for key in ("mean", "std")]
    values = [v.split(",") if isinstance(v, str) else v for v in values]
    try:
        mean, std = (tuple(float(x) for x in v) for v in values)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        return None
    is_plain = len(mean) == len(std) == 3 and min(std) > 0
    return (mean, std) if is_plain else None


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return plain_names(tensors, str(path)), file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file: torch, zip and pickle raise whatever they like
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted is None:
            raise _unreadable(path, error) from error
        raise DataError(
            f"weights are read without running code, got {path}, which would run {wanted[1]}; "
            'if you trust it, convert it once: python -c "import torch; '
            f"s = torch.load('{path}', weights_only=False); "
            "torch.save({'state_dict': s['state_dict']}, 'converted.pt')\""
        ) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).partition("\n")[0][:120]
    return DataError(
        f"weights are a whole file of torch or safetensors, got {path} ({type(error).__name__}: "
        f"{reason}); fetch it again, or save its state dict by torch.save"
    )


def _timm(name: str, key: str = "backbone.weights") -> Any:
    timm = optional_library("timm", f"{key}={name}", "'timm>=1.0'")
    wanted = name.removeprefix(TIMM)
    tagged = list(timm.list_pretrained())
    known = [*dict.fromkeys(known.partition(".")[0] for known in tagged), *tagged]
    choose("timm weights", wanted, known)
    return timm


def _from_timm(name: str) -> Source:
    timm = _timm(name)
    try:
        with torch.random.fork_rng(devices=[]):
            model = timm.create_model(name.removeprefix(TIMM), pretrained=True, num_classes=0)
    except Exception as error:  # the hub, the disk, the network: each in its own way
        reason = str(error).partition("\n")[0][:200]
        raise DataError(
            f"timm fetches the weights it is asked for, got {type(error).__name__}: {reason} for "
            f"{name}; fetch the file elsewhere and give it as backbone.weights=FILE"
        ) from error
    tensors = model.state_dict()
    digest = hashlib.sha256()
    for key, value in tensors.items():
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    where = f"{name} (timm {timm.__version__})"
    arch = name.partition(".")[0]  # without the tag, which says whose weights they are
    colours = _colours(getattr(model, "pretrained_cfg", None) or {})
    return Source(where, digest.hexdigest(), tensors, {"arch": arch}, "timm", colours=colours)
