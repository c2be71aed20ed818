"""A trained encoder on the images of a set: their features, and what it sees of them.

Legend: N images, D feature width, S side of a view.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from augengine.backends.create_backend import create_backend
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.views import BadSample, Views
from shards.errors import DataError
from shards.index import ShardIndex
from trainer.config import TrainConfig
from trainer.encoders.encoder import Encoder
from trainer.eval.class_match import class_name
from trainer.eval.labelled import LabelledSet
from trainer.setup.decoding import open_decoder, reading

OnShare = Callable[[float], None]
Pixels = np.ndarray  # [S, S, 3] uint8


@dataclass(frozen=True, slots=True)
class Shown:
    """An image as the encoder sees it, and whose it is."""

    pixels: Pixels
    name: str  # its file's, or its key
    label: str  # its class; empty: it has none


@dataclass(frozen=True, slots=True)
class SetPart:
    """The images of one set that take part."""

    index: ShardIndex
    ids: np.ndarray  # [N] int64, ascending
    labelled: LabelledSet | None  # None: no labels


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of the images of a set that can be read."""

    ids: np.ndarray  # [N] int64 - those that can be read
    features: torch.Tensor  # [N, D] float32, of length 1
    labels: np.ndarray  # [N] int32, as the voting set has them; zeros without labels


@dataclass(frozen=True, slots=True)
class EncodedSets:
    """What makes views, and the encoder that takes them."""

    config: TrainConfig
    encoder: Encoder
    device: torch.device
    bad: set[tuple[int, int]]  # (0: voting, 1: held-out; sample) that could not be read

    def encode(self, part: SetPart, done: int, total: int, on_share: OnShare) -> Encoded:
        """The features of a set, given how many images of all were looked at before."""
        module: nn.Module = self.encoder.module.to(self.device).eval()
        ids, features, labels = [], [], []
        with torch.no_grad():
            for views in self._views(part, part.ids, int(done > 0)):
                found = module(views.crops[0][0].to(self.device)).float().cpu()
                features.append(torch.nn.functional.normalize(found, dim=1))
                ids.append(np.array(views.ids))
                own = (
                    views.labels if part.labelled is None else part.labelled.renumber(views.labels)
                )
                labels.append(np.array(own))
                done += len(views.ids)
                on_share(done / total)
        if not ids:
            raise DataError(
                f"a report needs images that can be read, got none in {part.index.directory}"
            )
        return Encoded(np.concatenate(ids), torch.cat(features), np.concatenate(labels))

    def shown(self, part: SetPart, ids: np.ndarray) -> tuple[Shown, ...]:
        """These images, all of which have been read before, in this order."""
        feeding = self.encoder.preprocessing
        found: dict[int, Pixels] = {}
        for views in self._views(part, np.sort(ids), 0):
            for id, view in zip(views.ids.tolist(), views.crops[0][0].float().cpu(), strict=True):
                found[id] = to_pixels(view.numpy(), feeding.mean, feeding.std)
        own = part.index.labels(ids).tolist()
        labels = [class_name(part.index, n) if part.labelled and n >= 0 else "" for n in own]
        names = part.index.names(ids)
        return tuple(
            Shown(found[id], name, label)
            for id, name, label in zip(ids.tolist(), names, labels, strict=True)
        )

    def _views(self, part: SetPart, ids: np.ndarray, which: int) -> Iterator[Views]:
        data, feeding = self.config.data, self.encoder.preprocessing

        def note(sample: BadSample) -> None:
            self.bad.add((which, sample.id))

        views = iter_listed_views(
            part.index,
            CenterSquare(feeding.size_px, feeding.mean, feeding.std, feeding.fraction),
            self.config.eval.batch_size,
            backend=create_backend(data.backend, self.device, num_threads=data.workers),
            ids=ids,
            on_warning=note,
            **reading(data, open_decoder(data, self.device)),
        )
        with closing(views):
            yield from views


def to_pixels(view: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """A normalised view [3, S, S] as an image [S, S, 3] uint8."""
    shares = view.transpose(1, 2, 0) * np.array(std) + np.array(mean)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
