"""Makes the parts of one rank: a stream of batches through the encoder, written part by part.

A part is written on a thread of its own, since names are read from the tars for it, while the next
one's images go through the encoder.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from augengine.backends.create_backend import create_backend
from augengine.loader.bad_samples import log_bad_sample
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.views import BadSample, Views
from shards.errors import DataError
from shards.index import ShardIndex
from trainer.config import TrainConfig
from trainer.embed.feature_parts import FeatureParts, rows_of
from trainer.encoders.encoder import Encoder
from trainer.setup.decoding import open_decoder, reading


class FeatureStream:
    """The encoder on its device, and the set."""

    def __init__(
        self,
        config: TrainConfig,
        encoder: Encoder,
        index: ShardIndex,
        parts: FeatureParts,
        device: torch.device,
        on_bad: Callable[[BadSample], None] = log_bad_sample,
    ) -> None:
        self._data, self._on_bad = config.data, on_bad
        self._module = encoder.module.to(device)
        self._feeding = encoder.preprocessing
        self._index = index
        self.parts = parts
        self.device = device
        self._dtype = np.dtype(parts.facts["dtype"])

    def make(self, missing: Sequence[int], on_share: Callable[[float], None]) -> None:
        """Write these parts, in ascending order; says the share of their images that is done.

        Raises:
            DataError: too many images cannot be read, features that are not finite, or no room.
        """
        total = sum(len(self.parts.ids(part)) for part in missing)
        done, waiting = 0, list(missing)
        found: list[tuple[np.ndarray, np.ndarray]] = []  # ids, features: of the first that waits
        with ThreadPoolExecutor(1, "features") as pool:
            pending: Future[None] | None = None
            for views in self._views(missing) if missing else ():
                # What comes is of a later part: those before it are whole, or wholly unreadable.
                while views.ids[0] not in self.parts.ids(waiting[0]):
                    pending = self._submit(pool, pending, waiting.pop(0), found)
                    found = []
                found.append((np.array(views.ids), self._features(views)))
                done += len(views.ids)
                on_share(done / total)
            for part in waiting:
                pending = self._submit(pool, pending, part, found)
                found = []
            if pending is not None:
                pending.result()

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        pending: "Future[None] | None",
        part: int,
        found: list[tuple[np.ndarray, np.ndarray]],
    ) -> "Future[None]":
        """Let a part be written once the one before it is: no more than two are in memory."""
        if pending is not None:
            pending.result()
        return pool.submit(self._write, part, found)

    def _write(self, part: int, found: list[tuple[np.ndarray, np.ndarray]]) -> None:
        width = self.parts.facts["feature_dim"]
        ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in found)])
        features = np.concatenate([np.empty((0, width), self._dtype), *(f for _, f in found)])
        self.parts.write(part, rows_of(self._index, ids, features))

    @torch.no_grad()
    def _features(self, views: Views) -> np.ndarray:
        """[B, D] of a batch, in the type that is written."""
        features = self._module(views.crops[0][0].to(self.device)).float().cpu().numpy()
        with np.errstate(over="ignore"):
            features = features.astype(self._dtype)
        if not np.isfinite(features).all():
            odd = int(views.ids[~np.isfinite(features).all(axis=1)][0])
            raise DataError(
                f"features are finite numbers of {self._dtype}, got another one for sample {odd}; "
                "try --dtype float32, or look at the encoder"
            )
        return features

    def _views(self, missing: Sequence[int]) -> Iterator[Views]:
        data, feeding = self._data, self._feeding
        return iter_listed_views(
            self._index,
            CenterSquare(feeding.size_px, feeding.mean, feeding.std, feeding.fraction),
            self.parts.facts["batch_size"],
            backend=create_backend(data.backend, self.device, num_threads=data.workers),
            ids=np.concatenate([np.array(self.parts.ids(part)) for part in missing]),
            on_warning=self._on_bad,
            **reading(data, open_decoder(data, self.device)),
        )
