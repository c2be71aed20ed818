"""The views that an encoder is judged by: one centre square an image, sized and normalised alike.

All that judges an encoder takes them, during training and after, so that all speak of the same
features. An image that cannot be read is left out of the score, counted against the run's budget,
and kept here to be said and listed. Ranks may take a share of the images each; the budget is then
counted as one process would, when all shares are known.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from augengine.backends.backend import Backend
from augengine.decoders.decoder import Decoder
from augengine.loader.bad_samples import BadSamples
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.policy import Policy
from augengine.views import BadSample, Views
from shards.errors import DataError
from trainer.config import EvalConfig
from trainer.distributed import is_distributed
from trainer.eval.labelled import LabelledSet, LabelledSets
from trainer.eval.on_all import own_run
from trainer.settings.data_config import DataConfig
from trainer.setup.decoding import reading


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank met of its share of a set."""

    rows: list[int] = field(default_factory=list)  # images of each batch that could be read
    bad: list[BadSample] = field(default_factory=list)  # those that could not


@dataclass(frozen=True, slots=True)
class CenterViews:
    """Makes the centre views of a set."""

    settings: EvalConfig
    data: DataConfig
    policy: Policy
    backend: Backend
    decoder: Decoder
    # Images that could not be read so far, by (LabelledSet.data, id): here, and by other ranks.
    bad: dict[tuple[str, int], BadSample] = field(default_factory=dict)
    bad_elsewhere: dict[tuple[str, int], BadSample] = field(default_factory=dict)

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
        for views in self._views(part, part.ids, self.data, partial(self.note, part)):
            is_empty = False
            yield views
        if is_empty:
            raise self._none_of(part)

    def of_rank(self, part: LabelledSet, met: Share) -> Iterator[Views]:
        """The same of this rank's share of the images, in their order; `met` is filled meanwhile.

        Raises:
            DataError: this share alone has more bad images than the set may have, or none came
                within data.stall_seconds. Whether all shares have, `settle` says.
        """
        ids, data, whole = own_run(part.ids, self.settings.batch_size), self.data, None
        if is_distributed():  # a loader counts as if its ids were all
            data = replace(data, bad_budget=1.0, on_bad="substitute")
            whole = self._budget(part)
            whole.count((), len(part.ids))

        def note(bad: BadSample) -> None:
            self.note(part, bad)
            met.bad.append(bad)
            if whole is not None:
                whole.count([bad], 0)

        for views in self._views(part, ids, data, note) if len(ids) else ():
            met.rows.append(len(views.ids))
            yield views

    def settle(self, part: LabelledSet, shares: Iterable[Share]) -> None:
        """Take note of what all ranks met; every rank calls it with the same.

        Raises:
            DataError: as one process that goes through all images would.
        """
        shares = list(shares)
        found = {bad.id: bad for share in shares for bad in share.bad}
        for id, bad in found.items():
            if (part.data, id) not in self.bad:
                self.bad_elsewhere[part.data, id] = bad
        if is_distributed() and found:
            budget, size = self._budget(part), self.settings.batch_size
            for first in range(0, len(part.ids), size):
                batch = part.ids[first : first + size].tolist()
                budget.count([found[id] for id in batch if id in found], len(batch))
        if not any(sum(share.rows) for share in shares):
            raise self._none_of(part)

    @property
    def every_bad(self) -> dict[tuple[str, int], BadSample]:
        """Images that could not be read so far, by any rank."""
        return self.bad_elsewhere | self.bad

    def num_left_out(self, data: str) -> int:
        """Images of a set that are in no score, since they could not be read."""
        known = self.every_bad.items()
        return sum(of == data and bad.substitute is None for (of, _), bad in known)

    def describe(self, sets: LabelledSets) -> str:
        """Sentences about how the sets' classes are matched, and what was left out."""
        return sets.describe(self.num_left_out(sets.train.data), self.num_left_out("eval"))

    def note(self, part: LabelledSet, bad: BadSample) -> None:
        """Keep an image that could not be read; it is named once, however often it comes up."""
        if (part.data, bad.id) not in self.bad:
            self.bad[part.data, bad.id] = bad
            logging.getLogger(__name__).warning("bad sample of %s: %s", part.index.directory, bad)

    def _views(
        self,
        part: LabelledSet,
        ids: np.ndarray,  # [N] int64 - of them
        data: DataConfig,
        note: Callable[[BadSample], None],
    ) -> Iterator[Views]:
        settings, policy = self.settings, self.policy
        for views in iter_listed_views(
            part.index,
            CenterSquare(self.size_px, policy.mean, policy.std, settings.fraction),
            settings.batch_size,
            backend=self.backend,
            ids=ids,
            on_warning=note,
            **reading(data, self.decoder),
        ):
            yield replace(views, labels=part.renumber(views.labels))

    def _budget(self, part: LabelledSet) -> BadSamples:
        folder = str(part.index.directory)
        return BadSamples(self.data.bad_budget, self.data.on_bad, lambda _: None, folder)

    def _none_of(self, part: LabelledSet) -> DataError:
        return DataError(
            f"an evaluation needs images that can be read, got none of {len(part.ids):,} in "
            f"{part.index.directory}; check the data with python -m tools.check_shards"
        )
