"""The kinds of file in the threat model of docs/code.md: how each is made, and who reads it.

A reader here does what a run or a tool does with such a file, to the end: a tar is indexed, read,
decoded and checked, a policy also draws a plan.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile.damaged_bytes import damaged
from hostile.good_files import good_checkpoint, good_plan, good_shards, saved
from hostile.hostile_images import images, seed_images
from hostile.hostile_tars import tars
from hostile.lying_arrays import lying_npy, lying_npz, lying_records
from hostile.odd_values import changed_tree, changed_yaml
from hypothesis import strategies as st

from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.pillow_decoder import PillowDecoder, decode_one
from augengine.decoders.sniff import is_plain
from augengine.draw import draw_plan
from augengine.loader.bad_samples import BadSample
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from augengine.plan import Plan
from augengine.policies import FOLDER, load_policy
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

OWN_ERRORS = (UsageError, DataError, ImageError)  # what a reader may raise
ACCEPTED, SAMPLES = "accepted", "bad samples named"
Files = st.SearchStrategy[tuple[str, bytes]]  # what was done to it, and the file


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file."""

    share: int  # of 100 cases
    files: Callable[[], Files]
    read: Callable[[bytes, Path], str]  # into an empty folder; what came of it


def _by_chance(good: bytes) -> Files:
    return st.tuples(st.just("bytes"), damaged(good))


def _tars() -> Files:
    return tars(list(seed_images().values())[:6])


def _read_tar(data: bytes, folder: Path) -> str:
    (folder / "a.tar").write_bytes(data)
    outcome = _use_index(ShardIndex.open(folder))
    read_quarantine(folder)
    check_folder(folder)
    for export in EXPORTS.values():
        export(ShardIndex.open(folder))
    return outcome


def _indexes() -> Files:
    good, _ = ((good_shards(is_sealed) / INDEX_NAME).read_bytes() for is_sealed in (False, True))
    return st.one_of(_by_chance(good), lying_npy(good), lying_records(good), lying_records(good))


def _manifests() -> Files:
    kinds = [(good_shards(is_sealed) / MANIFEST_NAME).read_bytes() for is_sealed in (True, False)]
    by_value = [
        st.tuples(st.just("values"), changed_tree(json.loads(good)).map(json.dumps).map(str.encode))
        for good in kinds
    ]
    return st.one_of(*map(_by_chance, kinds), *by_value, *by_value)


def _read_part(name: str) -> Callable[[bytes, Path], str]:
    """A good set of shards with this file in the place of its own."""

    def read(data: bytes, folder: Path) -> str:
        is_sealed = name == INDEX_NAME and bool(len(data) % 2)
        shutil.copytree(good_shards(is_sealed), folder, dirs_exist_ok=True)
        (folder / name).write_bytes(data)
        outcome = _use_index(ShardIndex.open(folder))
        check_folder(folder)
        return outcome

    return read


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


def _plain_images() -> Files:
    plain = {name: data for name, data in seed_images().items() if is_plain(data)}
    others = list(seed_images().values())
    kinds = [
        st.tuples(st.just(f"bytes of {name}"), damaged(data, others))
        for name, data in plain.items()
    ]
    return st.one_of(*kinds)


@cache
def _dali() -> Any:
    from augengine.decoders.dali_decoder import DaliDecoder

    return DaliDecoder(torch.device("cpu"), 1)


def _read_dali(data: bytes, folder: Path) -> str:
    """The images beside it in a batch stay what they are."""
    good = seed_images()["jpeg"]
    found, truth = _dali()([good, data, good]), decode_one(good)
    assert isinstance(truth, torch.Tensor)
    for image in (found[0], found[2]):
        assert isinstance(image, torch.Tensor), image
        assert image.shape == truth.shape
    return DecodeFailure.__name__ if isinstance(found[1], DecodeFailure) else ACCEPTED


def _yaml_of(folder: Path) -> Callable[[], Files]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    changes = (changed_yaml, changed_yaml, changed_yaml, lambda text: _by_chance(text.encode()))
    return lambda: st.sampled_from(texts).flatmap(
        lambda text: st.one_of(*(c(text) for c in changes))
    )


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
    groups = tuple(replace(group, count=min(group.count, 4)) for group in policy.groups[:4])
    sizes = np.array([[30, 40], [1, 1]])
    draw_plan(replace(policy, groups=groups), np.arange(2), np.zeros(2, np.int64), sizes, 0)
    return ACCEPTED


def _plans() -> Files:
    return st.one_of(_by_chance(good_plan()), lying_npz(good_plan()), lying_npz(good_plan()))


def _read_plan(data: bytes, folder: Path) -> str:
    path = folder / "plan.npz"
    path.write_bytes(data)
    plan = Plan.load(path)
    repr(plan)
    ends = plan.window.astype(np.int64)[..., :2] + plan.window[..., 2:]
    assert (ends <= plan.image_sizes[:, None]).all()
    return ACCEPTED


def _checkpoints() -> Files:
    state, good = good_checkpoint()
    values = changed_tree(state)
    legacy = values.map(lambda tree: saved(tree, legacy=True)).flatmap(damaged)
    return st.one_of(
        _by_chance(good),
        st.tuples(st.just("values"), values.map(saved)),
        st.tuples(st.just("legacy"), legacy),
        st.tuples(st.just("zip"), lying_npz(good_plan()).map(lambda case: case[1])),
    )


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
        found = ImageSource(index, reader, PillowDecoder(1), Meter()).load(ids)
    for id in ids[:5].tolist():
        index.key(id)
    return SAMPLES if any(isinstance(image, BadSample) for image in found) else ACCEPTED


KINDS = {
    "tar": Kind(22, _tars, _read_tar),
    "index": Kind(13, _indexes, _read_part(INDEX_NAME)),
    "manifest": Kind(12, _manifests, _read_part(MANIFEST_NAME)),
    "image": Kind(21, images, _read_image),
    "image, DALI": Kind(3, _plain_images, _read_dali),
    "recipe": Kind(9, _yaml_of(RECIPES), _read_recipe),
    "policy": Kind(7, _yaml_of(FOLDER), _read_policy),
    "plan": Kind(7, _plans, _read_plan),
    "checkpoint": Kind(6, _checkpoints, _read_checkpoint),
}
