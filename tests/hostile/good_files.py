"""The files that are damaged, as they should be; made once."""

import io
import random
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile.hostile_images import seed_images
from hostile.hostile_tars import BLOCK, plain_tar

from augengine.draw import draw_plan
from augengine.policies import load_policy
from shards.cursor import Cursor
from shards.format import Manifest
from shards.index import build_index
from shards.store import write_index
from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.recipes.recipe import as_mapping


@cache
def good_shards(is_sealed: bool) -> Path:
    """A folder of two small tars with their index; it lies where temporary files do."""
    folder = Path(tempfile.mkdtemp(prefix="good-"))
    images, rng = list(seed_images().values())[:6], random.Random(0)
    for name in ("a.tar", "b.tar"):
        (folder / name).write_bytes(plain_tar(images, rng) + bytes(2 * BLOCK))
    index = build_index(folder)
    if is_sealed:
        shards = tuple(replace(shard, sha256="0" * 64) for shard in index.shards)
        write_index(folder, np.array(index.records), Manifest(shards, ("x", "y", "z")))
    return folder


@cache
def good_plan() -> bytes:
    """A plan of three images."""
    policy = load_policy("swav").with_views((2, 2), (16, 8))
    sizes = np.array([[30, 40], [20, 50], [9, 9]])
    plan = draw_plan(policy, np.arange(3), np.zeros(3, np.int64), sizes, 0)
    with tempfile.TemporaryDirectory() as folder:
        plan.save(Path(folder) / "plan.npz")
        return (Path(folder) / "plan.npz").read_bytes()


@cache
def good_checkpoint() -> tuple[Mapping[str, Any], bytes]:
    """A small state and its file."""
    state = {
        "step": 3,
        "cursor": Cursor(24).state_dict(),
        "method": {"encoder.weight": torch.arange(12.0).reshape(3, 4), "queue": torch.ones(2, 4)},
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.ones(3)}},
            "param_groups": [{"lr": 1}],
        },
        "seed": 0,
        "data_fingerprint": "0" * 64,
        "config": as_mapping(TrainConfig()),
        "torch_version": str(torch.__version__),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(Path(folder), state, keep=1)
        return torch.load(path, weights_only=True), path.read_bytes()


def saved(tree: Any, *, legacy: bool = False) -> bytes:
    """A tree as torch saves it."""
    buffer = io.BytesIO()
    torch.save(tree, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()
