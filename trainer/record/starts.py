"""The starts of a run, in the head of its config.yaml: each command, and what `auto` became.

Every key keeps its `auto`, since a run may go on with other hardware. So the outcome stands beside
the keys, as YAML in comments: a recipe reader passes over it, and `read_starts` reads it.

    # The starts of this run, oldest first; what each left open (auto) became:
    # - command: python -m trainer.run --data sets/train --out runs/mine
    #   date: '2026-11-29T19:15:38+00:00'
    #   step: 0
    #   ranks: 1
    #   auto: {run.device: cpu, data.backend: fused, ...}
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from augengine.yaml_text import YamlError, parse_yaml
from shards.remote.several_folders import remote_parts
from shards.terminal.bytesize import show_size
from shards.terminal.commandline import version
from trainer.build import Parts
from trainer.distributed import world_size
from trainer.nets.resnet import ResNet
from trainer.recipes.recipe import as_mapping
from trainer.settings.strict import flatten
from trainer.setup.data_sets import describe_sets
from trainer.setup.device import use_bf16

_TITLE = "# The starts of this run, oldest first; what each left open (auto) became:"
_AUTO = (None, "auto")


def describe_start(
    parts: Parts, command: str, step: int | None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """One start: who, when, where, from which step, and what was left to find out."""
    start: dict[str, Any] = {
        "command": command,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "step": step or 0,
        "of_steps": parts.timeline.total_steps,
        "ranks": world_size(),
        "versions": _versions(),
        "machine": _machine(parts.device),
        "auto": auto_values(parts),
    }
    if parts.taken is not None:
        start["weights"] = parts.taken.as_mapping()
    sets = describe_sets(parts.index)
    start |= {"sets": list(sets)} if sets else {}
    return start | ({"notes": list(notes)} if notes else {})


def weights_taken(config_yaml: Path) -> dict[str, Any]:
    """The first start's record of the weights that it took; empty: none."""
    starts = read_starts(config_yaml.read_text(encoding="utf-8")) if config_yaml.is_file() else []
    weights = starts[0].get("weights") if starts else None
    return dict(weights) if isinstance(weights, Mapping) else {}


def auto_values(parts: Parts) -> dict[str, Any]:
    """The values of keys that the config leaves open: by `auto`, or a null that means the same."""
    config, encoder = parts.config, parts.method.encoder
    found = {
        "run.device": parts.device.type,
        "data.backend": parts.backend.name,
        "data.decoder": parts.decoder.name,
        "data.decode_threads": config.data.num_decode_threads,
        "data.decoded_bytes": parts.decoded_bytes and show_size(parts.decoded_bytes),
        "data.augment_device": parts.backend.device.type,
        "data.cache_bytes": parts.cache.note,
        "data.remote_cache": _remote_cache(parts),
        "loop.precision": "bf16" if use_bf16(config, parts.device) else "fp32",
        "backbone.stem": encoder.stem if isinstance(encoder, ResNet) else None,
        "eval.label_free": parts.label_free is not None,
        "eval.size_px": parts.knn.views.size_px if parts.knn is not None else None,
    }
    given = dict(flatten(as_mapping(config)))
    return {
        key: value if isinstance(value, int) else str(value)
        for key, value in found.items()
        if value is not None and given[key] in _AUTO
    }


def read_starts(text: str) -> list[dict[str, Any]]:
    """The starts that a config.yaml's head tells, oldest first; what is odd there is kept as text.

    Former releases wrote the last command, and date and versions, as two lines.
    """
    first, *rest = [*takewhile(lambda line: line.startswith("#"), text.splitlines()), ""]
    if first != _TITLE:
        lines = [line.lstrip("# ") for line in (first, *rest) if line]
        return [{"command": lines[0], "note": " ".join(lines[1:])}] if lines else []
    starts: list[list[str]] = []
    for line in (line.removeprefix("#").removeprefix(" ") for line in rest if line):
        if line.startswith("- ") or not starts:
            starts.append([])
        starts[-1].append(line)
    return [_read_start(lines) for lines in starts]


def head_of(starts: Sequence[Mapping[str, Any]]) -> str:
    """The comment lines; `read_starts` is the inverse."""
    # One line a value, however long: what begins with a dash is a start.
    form = {"sort_keys": False, "default_flow_style": None, "allow_unicode": True, "width": 10**6}
    text = "".join(yaml.safe_dump([dict(start)], **form) for start in starts)
    return f"{_TITLE}\n" + "".join(f"# {line}\n" for line in text.splitlines())


def _read_start(lines: list[str]) -> dict[str, Any]:
    text = "\n".join(lines)
    try:
        (start,) = parse_yaml(text)
        return dict(start)
    except (YamlError, TypeError, ValueError):  # somebody has edited it
        return {"note": text}


def _versions() -> str:
    return (
        f"augengine {version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"python {platform.python_version()}"
    )


def _machine(device: torch.device) -> str:
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{platform.node()}, {platform.machine()} {platform.system()}{gpu}"


def _remote_cache(parts: Parts) -> Path | None:
    folders = remote_parts(parts.index.directory)
    return folders[0].cache_folder if folders else None
