"""MoCHi: a query is also told from mixtures of the queue's rows that are nearest to it.

Kalantidis et al. 2020, 2010.01028. Of a query's hardest negatives n, the nearest in the queue,

    pairs       n(a n_i + (1 - a) n_j)   a ~ U(0, 1)
    with_query  n(b q + (1 - b) n_j)     b ~ U(0, 1/2), so that it is less than half the query

join its negatives, without gradient, once the encoder says something. There is no official code;
davidsvy/hard-negative-mixing and giakoumoglou/synco were read. The queue has no ids, so an image's
own former keys are among its negatives as in MoCo: keep the queue shorter than the set.

Legend: V views, B images, M rows of the queue, N hardest, D features.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from augengine.devices.streams import upload
from trainer.checks import require
from trainer.losses.cosine import unit_rows
from trainer.losses.own_negatives import Negatives
from trainer.nets.view_noise import MAX_NUMBERS, Use
from trainer.settings.bounds import Count, Natural, NotNegative, check_bounds
from trainer.terms.term import Seen, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of the paper's choices (N, s, s') one that we know from memory: (1024, 1024, 128)."""

    hardest: Count = 1024  # N, rows of the queue that are mixed
    pairs: Natural = 1024  # s, a query's mixtures of two of them
    with_query: Natural = 128  # s', a query's mixtures of one of them and itself
    start_epoch: NotNegative = 10.0  # from when on; the paper waits for 10 to 15 [from memory]

    def __post_init__(self) -> None:
        check_bounds("mochi", self)
        mixed = self.pairs + self.with_query
        require(mixed > 0, "mochi mixes pairs or with_query", mixed, "try pairs: 1024")
        rule = f"mochi draws 3 pairs + 2 with_query numbers, at most {MAX_NUMBERS}"
        require(self.num_draws <= MAX_NUMBERS, rule, self.num_draws, "lower pairs")

    @property
    def num_draws(self) -> int:
        """Numbers for one view of an image: which rows, and how much of each."""
        return 3 * self.pairs + 2 * self.with_query


class MoCHi(Term):
    """No layers of its own, and no loss."""

    needs = ("projections",)
    changes = "negatives"
    min_global_views = 1

    def __init__(self, settings: Settings, queue_length: int) -> None:
        super().__init__()
        rule = f"mochi's hardest are rows of the queue, which holds {queue_length}"
        remedy = "lower hardest, or raise method.queue_length"
        require(settings.hardest <= queue_length, rule, settings.hardest, remedy)
        self.settings = settings

    @torch.no_grad()
    def change(self, thing: Any, seen: Seen) -> Negatives:
        """The queue, and the mixtures of every query, [V, B, pairs + with_query, D]."""
        settings, negatives = self.settings, thing
        if seen.progress.epoch < settings.start_epoch:
            return negatives
        q = unit_rows(seen.parts["projections"])
        with torch.autocast(q.device.type, enabled=False):
            hardest = (q @ negatives.shared.T).topk(settings.hardest).indices  # [V, B, N]
        pairs, numbers = settings.pairs, seen.uniforms(Use.MIXED_NEGATIVES, settings.num_draws)
        first, second, a = np.split(numbers[..., : 3 * pairs], 3, -1)
        other, b = np.split(numbers[..., 3 * pairs :], 2, -1)
        places = np.concatenate([first, second, other], -1) * settings.hardest
        taken = hardest.gather(-1, upload(torch.from_numpy(places.astype(np.int64)), q.device))
        rows = negatives.shared[taken].split([pairs, pairs, settings.with_query], -2)
        shares = upload(torch.from_numpy(np.concatenate([a, b / 2], -1)).to(q.dtype), q.device)
        share, of_query = shares[..., None].split([pairs, settings.with_query], -2)
        mixed = [rows[1].lerp(rows[0], share), rows[2].lerp(q[..., None, :], of_query)]
        return replace(negatives, own=unit_rows(torch.cat(mixed, -2)))
