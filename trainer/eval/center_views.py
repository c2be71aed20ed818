"""The views that an encoder is judged by: one centre square an image, sized and normalised alike.

`online.py` takes them during training, `evaluate.py` and `finetune.py` after, so that all speak of
the same features. An image that cannot be read is left out of the score, counted against the run's
budget, and kept here to be said and listed.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from augengine.backends.backend import Backend
from augengine.decoders.decoder import Decoder
from augengine.loader.center_loader import iter_center_views
from augengine.policy import Policy
from augengine.views import BadSample, Views
from shards.errors import DataError
from trainer.config import EvalConfig
from trainer.eval.labelled import LabelledSet, LabelledSets
from trainer.settings.data_config import DataConfig


@dataclass(frozen=True, slots=True)
class CenterViews:
    """Makes the centre views of a set."""

    settings: EvalConfig
    data: DataConfig
    policy: Policy
    backend: Backend
    decoder: Decoder
    # Images that could not be read so far, by (LabelledSet.data, id).
    bad: dict[tuple[str, int], BadSample] = field(default_factory=dict)

    @property
    def size_px(self) -> int:
        """Side of the views."""
        return self.settings.size_px or self.policy.groups[0].size_px

    def __call__(self, part: LabelledSet) -> Iterator[Views]:
        """Views of the images that take part; labels are the training set's class numbers.

        Raises:
            DataError: too many images cannot be read (data.bad_budget, data.on_bad), or all of
                them, or none came within data.stall_seconds.
        """
        is_empty = True
        for views in iter_center_views(
            part.index,
            self.size_px,
            self.settings.batch_size,
            backend=self.backend,
            decoder=self.decoder,
            ids=part.ids,
            mean=self.policy.mean,
            std=self.policy.std,
            fraction=self.settings.fraction,
            num_workers=self.data.workers,
            prefetch=self.data.prefetch,
            bad_budget=self.data.bad_budget,
            on_bad=self.data.on_bad,
            on_warning=partial(self.note, part),
            verify=self.data.verify,
            stall_s=self.data.stall_seconds,
        ):
            is_empty = False
            yield replace(views, labels=part.renumber(views.labels))
        if is_empty:
            raise DataError(
                f"an evaluation needs images that can be read, got none of {len(part.ids):,} in "
                f"{part.index.directory}; check the data with python -m tools.check_shards"
            )

    def num_left_out(self, data: str) -> int:
        """Images of a set that are in no score, since they could not be read."""
        return sum(of == data and bad.substitute is None for (of, _), bad in self.bad.items())

    def describe(self, sets: LabelledSets) -> str:
        """Sentences about how the sets' classes are matched, and what was left out."""
        return sets.describe(self.num_left_out(sets.train.data), self.num_left_out("eval"))

    def note(self, part: LabelledSet, bad: BadSample) -> None:
        """Keep an image that could not be read; it is named once, however often it comes up."""
        if (part.data, bad.id) not in self.bad:
            self.bad[part.data, bad.id] = bad
            logging.getLogger(__name__).warning("bad sample of %s: %s", part.index.directory, bad)
