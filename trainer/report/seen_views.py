"""The views that the encoder saw: those of the first images of the run's first epoch.

They are drawn anew from the run's policy and seed, and made by the reference, to which every
backend is held.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from augengine.decoders.create_decoder import create_decoder
from augengine.draw import draw_plan
from augengine.loader.image_source import ImageSource
from augengine.loader.mask_source import MaskSource
from augengine.loader.meter import Meter
from augengine.plan import FILLED, NO_SOLARIZE, PASTED, Plan
from augengine.reference import Masked, render_heavy_of, render_of
from shards.errors import DataError
from shards.reader import ShardReader
from trainer.config import TrainConfig
from trainer.report.encoded_sets import Pixels, to_pixels
from trainer.setup.data_sets import open_training

IMAGES = 4
MOST_VIEWS = 16  # of an image that are shown


@dataclass(frozen=True, slots=True)
class SeenView:
    """One view, its window in shares of the source's sides, and what was done to it."""

    pixels: Pixels
    window: tuple[float, float, float, float]  # left, top, width, height
    size_px: int
    done: str


@dataclass(frozen=True, slots=True)
class SeenImage:
    """A training image and its views, in plan order, then its heavy ones."""

    pixels: np.ndarray  # [H, W, 3] uint8
    id: int
    name: str
    views: tuple[SeenView, ...]


def views_seen(config: TrainConfig) -> tuple[SeenImage, ...]:
    """The first images that can be read.

    Raises:
        UsageError, DataError: a set that cannot be opened, or none of its images can be read.
    """
    policy, index, seed = config.policy.load(), open_training(config), config.loop.seed
    # More than are shown: some may be bad.
    count = min(4 * IMAGES, index.epoch_samples)
    ids = index.windowed_order(seed, config.loop.window)(np.arange(count, dtype=np.int64))[1]
    with ShardReader(index) as reader:
        decoder = create_decoder("auto", torch.device("cpu"), num_threads=1)
        found = ImageSource(index, reader, decoder, Meter()).load(ids)
        masks: list[torch.Tensor | None] = [None] * len(ids)
        if policy.has_background:
            masks = MaskSource(index, reader, Meter()).load(ids, index.rows(ids), found)
    good = [row for row, image in enumerate(found) if isinstance(image, torch.Tensor)][:IMAGES]
    if not good:
        raise DataError(
            f"views are shown of images that can be read, got none in {index.directory}"
        )
    ids = ids[good]
    # Whose background a view gets is drawn among what is shown, not among the run's batch.
    has_mask = np.array([masks[row] is not None for row in good])
    plan = draw_plan(policy, ids, np.zeros(len(ids)), index.sizes(ids), seed, has_mask)
    shown = [(_array(found[row]), _array(masks[row])) for row in good]
    names = index.names(ids)
    seen = []
    num_heavy = plan.heavy.num_views if plan.heavy else 0
    for b in range(len(good)):
        views = tuple(_view(shown, plan, b, v) for v in range(min(plan.num_views, MOST_VIEWS)))
        views += tuple(_heavy_view(shown, plan, b, h) for h in range(min(num_heavy, MOST_VIEWS)))
        seen.append(SeenImage(shown[b][0], int(ids[b]), names[b], views))
    return tuple(seen)


def _array(x: object) -> np.ndarray:
    """Pixels or a mask; of no mask an empty array, which is not looked at."""
    return x.numpy() if isinstance(x, torch.Tensor) else np.empty(0, np.uint8)


def _view(shown: list[Masked], plan: Plan, b: int, v: int) -> SeenView:
    height, width = plan.image_sizes[b].tolist()
    top, left, tall, wide = plan.window[b, v].tolist()
    return SeenView(
        pixels=to_pixels(render_of(shown, plan, b, v), plan.mean, plan.std),
        window=(left / width, top / height, wide / width, tall / height),
        size_px=int(plan.size_px[v]),
        done=_in_words(plan, b, v, tall * wide / (height * width)),
    )


def _heavy_view(shown: list[Masked], plan: Plan, b: int, h: int) -> SeenView:
    """As its source, but for what made it heavy."""
    assert plan.heavy is not None
    v = int(plan.heavy.source[h])
    pixels = to_pixels(render_heavy_of(shown, plan, b, h), plan.mean, plan.std)
    done = f"heavy, of view {v + 1}: {', '.join(plan.heavy.in_words(b, h))}"
    return replace(_view(shown, plan, b, v), pixels=pixels, done=done)


def _in_words(plan: Plan, b: int, v: int, share: float) -> str:
    neutral = (plan.brightness, 1), (plan.contrast, 1), (plan.saturation, 1), (plan.hue, 0)
    words = [f"{share:.0%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")]
    words += ["without background"] * bool(plan.background[b, v] == FILLED)
    words += ["other background"] * bool(plan.background[b, v] == PASTED)
    words += ["mirrored"] * bool(plan.flip[b, v])
    words += ["colour"] * any(values[b, v] != off for values, off in neutral)
    words += ["grey"] * bool(plan.gray[b, v])
    words += [f"blur {plan.sigma[b, v]:.1f}"] * bool(plan.sigma[b, v] > 0)
    words += ["solarised"] * bool(plan.solarize[b, v] < NO_SOLARIZE)
    return ", ".join(words)
