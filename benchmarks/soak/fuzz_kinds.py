"""What is fuzzed: for each kind of file, how a case is made and which readers it goes through.

`fuzz.py` counts what comes out. A reader here does what a run or a tool does with such a file, to
the end: a tar is indexed, read, decoded and checked, a policy also draws a plan.
"""

import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.pillow_decoder import decode_one
from augengine.decoders.sniff import is_plain
from augengine.draw import draw_plan
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from augengine.plan import Plan
from augengine.policies import FOLDER, load_policy
from augengine.views import BadSample
from benchmarks.soak.fuzz_arrays import hostile_npy, hostile_npz, lying_records
from benchmarks.soak.fuzz_bytes import mutate_bytes
from benchmarks.soak.fuzz_good import dali, good_checkpoint, good_plan, pillow, shards
from benchmarks.soak.fuzz_images import hostile_image, seed_images
from benchmarks.soak.fuzz_tars import hostile_tar, plain_tar
from benchmarks.soak.fuzz_values import mutate_tree, mutate_yaml
from shards.cursor import Cursor
from shards.errors import DataError, UsageError
from shards.format import INDEX_NAME, MANIFEST_NAME
from shards.index import ShardIndex
from shards.packing.transcode import transcode
from shards.reader import ShardReader
from shards.samples.image_header import ImageError, open_image, upright_size
from shards.samples.quarantine import read_quarantine
from shards.upkeep.folder_check import check_folder
from shards.upkeep.foreign_indexes import EXPORTS
from trainer import checkpoint
from trainer.config import TrainConfig
from trainer.recipes.recipe import RECIPES, as_mapping, read_recipe, resolve, to_yaml
from trainer.record.continuation import changed_on_resume
from trainer.settings.strict import parse_override

# What a reader may raise or return for a file that is not what it should be.
OWN_ERRORS = (UsageError, DataError, ImageError)
ACCEPTED, SAMPLES = "accepted", "bad samples named"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file."""

    share: int  # of 100 cases
    make: Callable[[random.Random], tuple[str, bytes]]  # what was done to it, and the file
    read: Callable[[bytes, Path], str]  # into an empty folder; what came of it


def _by_chance(good: bytes, rng: random.Random, others: list[bytes]) -> tuple[str, bytes]:
    return "bytes", mutate_bytes(good, rng, others)


def _make_tar(rng: random.Random) -> tuple[str, bytes]:
    images = list(seed_images().values())[:6]
    if rng.random() < 0.6:
        name, tar = hostile_tar(images, rng)
        return (name, tar) if rng.random() < 0.8 else _by_chance(tar, rng, images)
    return _by_chance(plain_tar(images, rng), rng, images)


def _read_tar(data: bytes, folder: Path) -> str:
    (folder / "a.tar").write_bytes(data)
    outcome = _use_index(ShardIndex.open(folder))
    read_quarantine(folder)
    check_folder(folder)
    for export in EXPORTS.values():
        export(ShardIndex.open(folder))
    return outcome


def _make_index(rng: random.Random) -> tuple[str, bytes]:
    good = (shards(sealed=False) / INDEX_NAME).read_bytes()
    make = rng.choice((hostile_npy, lying_records, lying_records, None))
    return _by_chance(good, rng, [good]) if make is None else make(good, rng)


def _read_index(data: bytes, folder: Path) -> str:
    shutil.copytree(shards(sealed=bool(len(data) % 2)), folder, dirs_exist_ok=True)
    (folder / INDEX_NAME).write_bytes(data)
    outcome = _use_index(ShardIndex.open(folder))
    check_folder(folder)
    return outcome


def _make_manifest(rng: random.Random) -> tuple[str, bytes]:
    good = (shards(sealed=rng.random() < 0.5) / MANIFEST_NAME).read_bytes()
    if rng.random() < 0.3:
        return _by_chance(good, rng, [good])
    return "values", json.dumps(mutate_tree(json.loads(good), rng)).encode()


def _read_manifest(data: bytes, folder: Path) -> str:
    shutil.copytree(shards(sealed=False), folder, dirs_exist_ok=True)
    (folder / MANIFEST_NAME).write_bytes(data)
    outcome = _use_index(ShardIndex.open(folder))
    check_folder(folder)
    return outcome


def _make_image(rng: random.Random) -> tuple[str, bytes]:
    images = seed_images()
    if rng.random() < 0.15:
        return hostile_image(rng)
    names = list(images)
    name = rng.choice([name for name in names if name.startswith("jpeg")] + names)
    return f"bytes of {name.split()[0]}", mutate_bytes(images[name], rng, list(images.values()))


def _read_image(data: bytes, folder: Path) -> str:
    is_plain(data)
    image = decode_one(data)
    try:
        size = upright_size(open_image(data))
        stored = transcode(data)
    except ImageError:
        return ImageError.__name__
    assert (stored.height, stored.width) == size, (stored.height, stored.width, size)
    assert isinstance(image, torch.Tensor), image
    assert image.shape == (*size, 3), (image.shape, size)
    return ACCEPTED


def _make_dali(rng: random.Random) -> tuple[str, bytes]:
    images = {name: data for name, data in seed_images().items() if is_plain(data)}
    name = rng.choice(list(images))
    return f"bytes of {name}", mutate_bytes(images[name], rng, list(images.values()))


def _read_dali(data: bytes, folder: Path) -> str:
    good = seed_images()["jpeg"]
    images = dali()([good, data, good])
    truth = decode_one(good)
    assert isinstance(truth, torch.Tensor)
    for image in (images[0], images[2]):
        assert isinstance(image, torch.Tensor), image
        assert image.shape == truth.shape
    return DecodeFailure.__name__ if isinstance(images[1], DecodeFailure) else ACCEPTED


def _make_recipe(rng: random.Random) -> tuple[str, bytes]:
    return _make_yaml(RECIPES, rng)


def _make_policy(rng: random.Random) -> tuple[str, bytes]:
    return _make_yaml(FOLDER, rng)


def _make_yaml(folder: Path, rng: random.Random) -> tuple[str, bytes]:
    text = rng.choice(sorted(folder.glob("*.yaml"))).read_text(encoding="utf-8")
    if rng.random() < 0.25:
        return _by_chance(text.encode(), rng, [text.encode()])
    name, mutated = mutate_yaml(text, rng)
    return name, mutated.encode("utf-8", "surrogatepass")


def _read_recipe(data: bytes, folder: Path) -> str:
    path = folder / "recipe.yaml"
    path.write_bytes(data)
    config = resolve(read_recipe(str(path)))
    assert resolve(as_mapping(config)) == config
    changed_on_resume(as_mapping(TrainConfig()), config)
    to_yaml(config)
    parse_override("loop.epochs=" + data.decode(errors="replace")[-2_000:])
    config.policy.load()
    return ACCEPTED


def _read_policy(data: bytes, folder: Path) -> str:
    path = folder / "policy.yaml"
    path.write_bytes(data)
    policy = load_policy(path)
    small = replace(
        policy, groups=tuple(replace(g, count=min(g.count, 4)) for g in policy.groups[:4])
    )
    sizes = np.array([[30, 40], [1, 1]])
    draw_plan(small, np.arange(2), np.zeros(2, np.int64), sizes, 0)
    return ACCEPTED


def _make_plan(rng: random.Random) -> tuple[str, bytes]:
    good = good_plan()
    return _by_chance(good, rng, [good]) if rng.random() < 0.3 else hostile_npz(good, rng)


def _read_plan(data: bytes, folder: Path) -> str:
    path = folder / "plan.npz"
    path.write_bytes(data)
    plan = Plan.load(path)
    repr(plan)
    ends = plan.window.astype(np.int64)[..., :2] + plan.window[..., 2:]
    assert (ends <= plan.image_sizes[:, None]).all()
    return ACCEPTED


def _make_checkpoint(rng: random.Random) -> tuple[str, bytes]:
    state, good = good_checkpoint()
    kind = rng.choice(("bytes", "values", "values", "zip", "legacy"))
    if kind == "bytes":
        return _by_chance(good, rng, [good])
    if kind == "zip":
        return "zip", hostile_npz(good_plan(), rng)[1]
    tree = mutate_tree(state, rng)
    buffer = io.BytesIO()
    torch.save(tree, buffer, _use_new_zipfile_serialization=kind == "values")
    data = buffer.getvalue()
    return kind, mutate_bytes(data, rng, [good]) if kind == "legacy" else data


def _read_checkpoint(data: bytes, folder: Path) -> str:
    path = folder / "step-00000001.pt"
    path.write_bytes(data)
    state = checkpoint.load(path)
    Cursor.from_state_dict(state["cursor"])
    changed_on_resume(state["config"], TrainConfig())
    return ACCEPTED


def _use_index(index: ShardIndex) -> str:
    """Everything a run asks of an index and its tars."""
    repr(index)
    ids = np.arange(min(len(index), 50))
    index.sizes(ids)
    index.labels(ids)
    with ShardReader(index, verify=True) as reader:
        images = ImageSource(index, reader, pillow(), Meter()).load(ids)
    for id in ids[:5].tolist():
        index.key(id)
    return SAMPLES if any(isinstance(image, BadSample) for image in images) else ACCEPTED


KINDS = {
    "tar": Kind(22, _make_tar, _read_tar),
    "index": Kind(13, _make_index, _read_index),
    "manifest": Kind(12, _make_manifest, _read_manifest),
    "image": Kind(21, _make_image, _read_image),
    "image, DALI": Kind(3, _make_dali, _read_dali),
    "recipe": Kind(9, _make_recipe, _read_recipe),
    "policy": Kind(7, _make_policy, _read_policy),
    "plan": Kind(7, _make_plan, _read_plan),
    "checkpoint": Kind(6, _make_checkpoint, _read_checkpoint),
}
