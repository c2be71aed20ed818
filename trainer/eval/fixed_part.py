"""The label-free measures of an encoder as it is now, on a fixed part of some images.

`label_free_records.py` asks when a score is due. The images and the draws of their views are the
same at every score of every run of the same data: so the numbers of two checkpoints differ by the
encoder alone. Centre views, as kNN has them, give RankMe, alpha and uniformity; augmented ones, of
fewer images, give LiDAR and alignment.

A score costs up to 1,024 + 256 x 8 = 3,072 forwards; a kNN of 10,000 and 10,000 images is 20,000.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from augengine.draw import draw_plan
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.views import BadSample, Views
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.terminal.counted import counted
from trainer.config import EvalConfig
from trainer.eval.center_views import CenterViews
from trainer.eval.features import calibrated, extract, frozen
from trainer.eval.label_free import alignment, alpha_req, lidar, rankme, uniformity
from trainer.eval.labelled import sample_positions
from trainer.eval.on_all import GivenUp
from trainer.setup.decoding import reading

IMAGES = 1024  # at most, of centre views
AUGMENTED_IMAGES = 256  # at most, of these
VIEWS = 8  # of each, of the first crop group
SEED = 0  # of their draws, whatever the run's is; their epoch is 0

Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class FixedPart:
    """The images that are measured."""

    data: str  # "train" or "eval": which set of the config's it is
    index: ShardIndex
    ids: np.ndarray  # [N] int64, ascending

    @property
    def augmented_ids(self) -> np.ndarray:
        """[M] int64, ascending - those of which augmented views are made."""
        return self.ids[sample_positions(len(self.ids), AUGMENTED_IMAGES)]


def fixed_part(
    settings: EvalConfig, train: ShardIndex, held_out: ShardIndex | None
) -> FixedPart | None:
    """A fixed random part of the held-out images, or without any of the training ones.

    Returns:
        None where eval.label_free says no, or is left open without held-out images, or of one.

    Raises:
        UsageError: it is asked for, and there is only one image.
    """
    wanted = settings.label_free
    index = train if held_out is None else held_out
    if wanted is False or (wanted is None and (held_out is None or len(index) < 2)):
        return None
    if len(index) < 2:
        raise UsageError(
            f"eval.label_free compares two images or more, got {len(index)} in {index.directory}; "
            "give a larger --eval-data, or eval.label_free=false"
        )
    data = "train" if held_out is None else "eval"
    return FixedPart(data, index, sample_positions(len(index), IMAGES))


@dataclass(frozen=True, slots=True)
class LabelFreeScore:
    """The measures by name; alpha_req is not there where features have no spectrum."""

    values: dict[str, float]
    problem: str | None = None  # why there are none


@dataclass(frozen=True, slots=True)
class LabelFree:
    """Measures a backbone."""

    part: FixedPart
    views: CenterViews  # kNN's, where there is one; it keeps what cannot be read
    device: torch.device

    def __call__(self, backbone: nn.Module, stop: Stop = lambda: False) -> LabelFreeScore:
        """Measure the encoder as it is, and leave it so; Torch's random state stays as it is.

        Raises:
            GivenUp: `stop` said so between two batches.
            DataError: images that cannot be read.
        """
        with frozen(backbone):
            features = extract(backbone, self._centre(stop), self.device).values
            views = self._features_of_views(backbone, stop)
        try:
            return LabelFreeScore(measures(features, views))
        except DataError as error:  # of the features: no reason to end a run
            return LabelFreeScore({}, str(error))

    def random_encoder(self, backbone: nn.Module, stop: Stop = lambda: False) -> LabelFreeScore:
        """Of an untrained backbone with BatchNorm statistics of the same images."""
        return self(calibrated(backbone, self._centre(stop), self.device), stop)

    @property
    def protocol(self) -> str:
        """The facts that comparable measures share."""
        part, fraction = self.part, self.views.settings.fraction
        centre = f", centre {fraction:g}" if fraction < 1 else ""
        data = "held-out" if part.data == "eval" else "training"
        return (
            f"{len(part.ids):,} {data} images at {self.views.size_px} px{centre}, {VIEWS} views of "
            f"{len(part.augmented_ids):,} at {self.views.policy.groups[0].size_px} px, set "
            f"{part.index.fingerprint[:16]}"
        )

    @property
    def note(self) -> str | None:
        """A sentence where the images are those that the encoder is trained on."""
        if self.part.data == "eval":
            return None
        return (
            f"label-free measures are of {counted(len(self.part.ids), 'training image')}, a fixed "
            "part: there is no --eval-data"
        )

    @property
    def centre_pixels(self) -> int:
        """Of all centre views of a score."""
        return len(self.part.ids) * self.views.size_px**2

    @property
    def pixels(self) -> int:
        """Of all views of a score: what its forwards cost."""
        num_views = VIEWS * len(self.part.augmented_ids)
        return self.centre_pixels + num_views * self.views.policy.groups[0].size_px ** 2

    def _centre(self, stop: Stop) -> Iterator[Views]:
        settings, policy = self.views.settings, self.views.policy
        views = iter_listed_views(
            self.part.index,
            CenterSquare(self.views.size_px, policy.mean, policy.std, settings.fraction),
            settings.batch_size,
            ids=self.part.ids,
            **self._engine(),
        )
        return _stopped(views, stop, str(self.part.index.directory))

    def _features_of_views(self, backbone: nn.Module, stop: Stop) -> torch.Tensor:
        """[M, V, D] float32: of augmented views of the images that can be read."""
        policy = replace(self.views.policy.with_views((VIEWS,)).without_backgrounds(), heavy=None)
        views = iter_listed_views(
            self.part.index,
            partial(draw_plan, policy, seed=SEED),
            max(1, self.views.settings.batch_size // VIEWS),
            ids=self.part.augmented_ids,
            **self._engine(),
        )
        found = []
        with torch.no_grad():
            for batch in _stopped(views, stop, str(self.part.index.directory)):
                images = batch.crops[0].to(self.device)  # [V, B, C, S, S]
                features = backbone(images.flatten(0, 1)).float()
                found.append(features.unflatten(0, images.shape[:2]).transpose(0, 1))
        return torch.cat(found)

    def _engine(self) -> dict[str, Any]:
        said = {"backend": self.views.backend, "on_warning": self._note}
        return said | reading(self.views.data, self.views.decoder)

    def _note(self, bad: BadSample) -> None:
        if (self.part.data, bad.id) not in self.views.bad:
            self.views.bad[self.part.data, bad.id] = bad
            logging.getLogger(__name__).warning(
                "bad sample of %s: %s", self.part.index.directory, bad
            )


def measures(
    features: torch.Tensor,  # [N, D] float - of centre views
    views: torch.Tensor,  # [M, V, D] float - of augmented views of some of the images
) -> dict[str, float]:
    """All five by the names that a run's records have; without alpha_req where there is no slope.

    Raises:
        DataError: features that are not finite, or of fewer than two images.
    """
    alpha = alpha_req(features)
    return {
        "rankme": rankme(features),
        **({} if alpha is None else {"alpha_req": alpha}),
        "lidar": lidar(views),
        "alignment": alignment(views),
        "uniformity": uniformity(features),
    }


def _stopped(views: Iterator[Views], stop: Stop, folder: str) -> Iterator[Views]:
    is_empty = True
    for batch in views:
        if stop():
            raise GivenUp
        is_empty = False
        yield batch
    if is_empty:
        raise DataError(
            f"label-free measures need images that can be read, got none in {folder}; check the "
            "data with python -m tools.check_shards"
        )
