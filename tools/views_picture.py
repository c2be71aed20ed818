"""A picture of the views of some images: which images, what is drawn for them, who makes them."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from augengine.backends.create_backend import BACKENDS, create_backend
from augengine.backends.heavy_views import heavy_views
from augengine.backgrounds.composites import make_views
from augengine.decoders.create_decoder import create_decoder
from augengine.draw import draw_plan
from augengine.loader.image_source import ImageSource
from augengine.loader.mask_source import MaskSource, check_masks
from augengine.loader.meter import Meter
from augengine.plan import KEPT, PASTED, Plan
from augengine.reference import render_heavy_of, render_of
from augengine.views import BadSample
from shards.errors import DataError, UsageError
from shards.index import ShardIndex, sizes_of
from shards.plugins.find import check_name
from shards.reader import ShardReader
from shards.samples.masks import masked
from shards.terminal.counted import counted
from shards.terminal.output_file import check_output
from tools.contact_sheet import SheetRow, draw_sheet
from tools.policy_options import describe_policy, index_of, policy_of, seed_of
from trainer.checks import require

CPU = torch.device("cpu")
# A row takes 270 pixels: JPEG and viewers of PNG end at 65,500 of them, WebP at 16,383.
MAX_IMAGES = 240
MAX_WEBP_IMAGES = 60
MAX_EPOCH = 2**32 - 1  # what random numbers count to
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def picture_views(options: argparse.Namespace) -> int:
    """Write the picture that the flags ask for; returns the exit code."""
    check_name("backends", options.backend, BACKENDS, also=("auto", "reference"))
    out = Path(options.out)
    check_output("--out", out, PICTURES)
    _check_numbers(options, MAX_WEBP_IMAGES if out.suffix.lower() == ".webp" else MAX_IMAGES)
    index = index_of(options)
    plan, num_shown, title, origin = (
        _saved(options, index) if options.plan else _drawn(options, index)
    )
    images, masks = _load(index, plan)
    views, backend = _render(images, masks, plan, options.backend)
    plan = plan.rows(slice(0, num_shown))  # then come those of which only the background is shown
    names = index.names(plan.ids)
    rows = [
        SheetRow(image.numpy(), views[b], _captions(index, int(plan.ids[b]), image, names[b]))
        for b, image in enumerate(images[:num_shown])
    ]
    subtitle = (
        f"{index.directory.name}: {counted(len(index), 'image')}    {origin}    backend "
        f"{backend}    |    share of the image's area, what was done"
    )
    draw_sheet(rows, plan, title, subtitle).save(out)
    beside = f" and {plan.heavy.num_views} heavy ones" if plan.heavy else ""
    text = (
        f"wrote {out}: {counted(len(rows), 'image')}, {counted(plan.num_views, 'view')}{beside} "
        "each\n"
    )
    sys.stderr.write(text)
    return 0


def _drawn(options: argparse.Namespace, index: ShardIndex) -> tuple[Plan, int, str, str]:
    """The views of a run; with how many images are shown, a title and where they come from.

    Whose background a view gets is drawn among the images that are shown; in a run, in its batch.
    """
    policy, seed = policy_of(options), seed_of(options)
    check_masks(index, policy)
    ids = _ids(options, index, seed)
    records, epochs = index.rows(ids), np.full(len(ids), options.epoch)
    plan = draw_plan(policy, ids, epochs, sizes_of(records), seed, masked(records))
    return plan, len(ids), describe_policy(policy), f"seed {seed}    epoch {options.epoch}"


def _saved(options: argparse.Namespace, index: ShardIndex) -> tuple[Plan, int, str, str]:
    """The views of a saved plan: its first images, or those of --ids, and behind them donors."""
    plan = Plan.load(options.plan)
    if (plan.ids >= len(index)).any() or (index.sizes(plan.ids) != plan.image_sizes).any():
        raise DataError(
            f"a plan is shown on the images it was drawn for, got others in {index.directory}; "
            "give the --data of its run"
        )
    rows = np.arange(plan.batch_size)[: options.num_images]
    if options.ids is not None:
        rows = np.flatnonzero(np.isin(plan.ids, _parse_ids(options.ids, len(index))))
    if not len(rows):
        raise UsageError(f"--ids are samples of the plan, got none of {plan.ids[:8].tolist()}, ...")
    donors = plan.donor[rows][plan.background[rows] == PASTED]
    others = np.setdiff1d(np.flatnonzero(np.isin(plan.ids, donors)), rows)
    changed = rows[(plan.background[rows] != KEPT).any(axis=1)]
    needed = plan.ids[np.concatenate([changed, others])]
    lacking = needed[~masked(index.rows(needed))]
    if len(lacking):
        raise DataError(
            f"a plan with backgrounds is shown on images with masks, got sample {lacking[0]} of "
            f"{index.directory} without one; give the --data of its run"
        )
    plan, num_shown = plan.rows(np.concatenate([rows, others])), len(rows)
    background = plan.background.copy()
    background[num_shown:] = KEPT  # their own donors are not there
    plan = replace(plan, background=background)
    epochs = ", ".join(map(str, np.unique(plan.epochs[:num_shown]).tolist()))
    return plan, num_shown, Path(options.plan).name, f"epoch {epochs}"


def _ids(options: argparse.Namespace, index: ShardIndex, seed: int) -> np.ndarray:
    """[B] int64 - the samples asked for, or the first of the epoch in the order of a run."""
    if options.ids is not None:
        return _parse_ids(options.ids, len(index))
    count = min(options.num_images, index.epoch_samples)
    positions = options.epoch * index.epoch_samples + np.arange(count, dtype=np.int64)
    return index.order(seed)(positions)[1]


def _check_numbers(options: argparse.Namespace, max_images: int) -> None:
    epoch, count = options.epoch, options.num_images
    require(0 <= epoch <= MAX_EPOCH, f"--epoch lies in 0..{MAX_EPOCH}", epoch, "try --epoch 0")
    rule = f"--num-images lies in 1..{max_images} for {options.out}"
    require(1 <= count <= max_images, rule, count, "try --num-images 8")
    words = [] if options.ids is None else options.ids.split(",")
    if not all(word.strip().isdecimal() for word in words) or len(words) > max_images:
        raise UsageError(
            f"--ids are up to {max_images} numbers such as 3,17, got {options.ids!r}; write them "
            "as --ids=3,17"
        )


def _parse_ids(text: str, num_samples: int) -> np.ndarray:
    ids = [int(word) for word in text.split(",")]
    if max(ids) >= num_samples:
        raise UsageError(
            f"--ids lie below the {counted(num_samples, 'sample')} of --data, got {max(ids)}"
        )
    return np.array(ids, dtype=np.int64)


def _load(index: ShardIndex, plan: Plan) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
    with ShardReader(index) as reader:
        decoder = create_decoder("auto", CPU, num_threads=1)
        images = ImageSource(index, reader, decoder, Meter()).load(plan.ids)
        masks: list[torch.Tensor | None] = [None] * len(images)
        if plan.background.any():
            masks = MaskSource(index, reader, Meter()).load(plan.ids, index.rows(plan.ids), images)
    bad = [image for image in images if isinstance(image, BadSample)]
    if bad:
        raise DataError(
            f"an image to show can be decoded, got {_file_name(index, bad[0])}{bad[0]}; choose "
            f"others with --ids"
        )
    return [image for image in images if isinstance(image, torch.Tensor)], masks


def _file_name(index: ShardIndex, bad: BadSample) -> str:
    try:
        (name,) = index.names([bad.id])
    except (DataError, OSError):  # the tar is torn there, which is said beside it
        name = bad.key
    return "" if name == bad.key else f"{name}, "


def _render(
    images: list[torch.Tensor], masks: list[torch.Tensor | None], plan: Plan, name: str
) -> tuple[list[tuple[np.ndarray, ...]], str]:
    """Per image its views [S, S, 3] uint8 in plan order, then heavy ones, and who made them."""
    num_heavy = plan.heavy.num_views if plan.heavy else 0
    if name == "reference":
        none = torch.empty(0, dtype=torch.uint8)
        pairs = [
            (image.numpy(), (none if mask is None else mask).numpy())
            for image, mask in zip(images, masks, strict=True)
        ]
        views = [
            [render_of(pairs, plan, b, v) for v in range(plan.num_views)]
            + [render_heavy_of(pairs, plan, b, h) for h in range(num_heavy)]
            for b in range(len(images))
        ]
    else:
        backend = create_backend(name, CPU, num_threads=1)
        name = backend.name
        outs = make_views(backend, images, plan, masks)
        heavy = heavy_views(outs, plan)
        outs = outs if heavy is None else (*outs, heavy)
        crops = [view for group in outs for view in group.float().numpy()]
        views = [[view[b] for view in crops] for b in range(len(images))]
    return [tuple(_pixels(view, plan) for view in row) for row in views], name


def _pixels(view: np.ndarray, plan: Plan) -> np.ndarray:
    """A normalised view [3, S, S] back to [S, S, 3] uint8."""
    x = view.transpose(1, 2, 0) * np.array(plan.std) + np.array(plan.mean)
    return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)


def _captions(index: ShardIndex, id: int, image: torch.Tensor, file_name: str) -> tuple[str, str]:
    label = index.entry(id).label
    name = f"class {index.classes[label]}" if 0 <= label < len(index.classes) else ""
    height, width = image.shape[:2]
    # Of a path its end: the class is there already, and there is little room.
    file_name = file_name.rpartition("/")[2]
    return f"sample {id}    {name}".rstrip(), f"{file_name}    {width}x{height}"
