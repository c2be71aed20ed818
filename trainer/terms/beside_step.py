"""The terms of a run beside a step: they see it, change a thing of it, and add to its loss.

All of it happens inside the method's `forward`, so DDP, loop.accumulate and autocast take a term's
layers as they take its heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from augengine.views import Views
from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.multicrop import Outputs, keep_outputs
from trainer.nets.stated import changed_by
from trainer.terms.part_children import child_of, networks_of, queue_rows
from trainer.terms.term import Seen, Term
from trainer.terms.term_table import Given

OWN_LOSS = "method_loss"  # of the records: without what the terms add


class Terms(nn.ModuleList):
    """The terms of a run; `terms.0` is the first one's name in a checkpoint."""

    def __init__(self, given: Sequence[Given], terms: Sequence[Term], seed: int) -> None:
        super().__init__(terms)
        self.given = tuple(given)
        self.seed = seed

    def forward(self, method: Method, views: Views, progress: Progress) -> StepResult:
        """The method's step with the terms' weighted losses in its loss; in its metrics, by name.

        What the loss is without them is among the metrics, too.
        """
        with keep_outputs() as kept:
            step = _Step(method, views, progress, self.seed, kept, queue_rows(method))
            pairs = [(g.name, cast(Term, t)) for g, t in zip(self.given, self, strict=True)]
            changers = {term.changes: (name, term) for name, term in pairs if term.changes}

            def change(thing_name: str, thing: Any) -> Any:
                if thing_name not in changers:
                    return thing
                name, term = changers.pop(thing_name)
                return term.change(thing, step.seen(name, term, is_over=False))

            with changed_by(change):
                result = method.step(views, progress)
        for thing_name, (name, _) in changers.items():
            raise UsageError(
                f"term {name} changes the {thing_name} once a step, which {type(method).__name__} "
                "says it states, got a step that did not; leave the term out"
            )
        loss, metrics = result.loss, dict(result.metrics)
        for one, (name, term) in zip(self.given, pairs, strict=True):
            if term.adds_a_loss():
                added = term(step.seen(name, term, is_over=True))
                loss = loss + one.weight * added
                metrics[f"term_{one.label}"] = added.detach()
                metrics[OWN_LOSS] = result.loss.detach()
        return StepResult(loss, result.embeddings, metrics)


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a method, as far as it has come."""

    method: Method
    views: Views
    progress: Progress
    seed: int
    outputs: Outputs  # grows while the step goes on
    queue: torch.Tensor | None  # before the step
    kept: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)  # by term

    def seen(self, name: str, term: Term, *, is_over: bool) -> Seen:
        """What the term needs of the step; UsageError when the whole step did not make it."""
        num_all, num_global = self.views.num_views, len(self.views.crops[0])
        num_seen = self.method.seen_global_views(num_global)
        first = self.method.first_seen_view
        columns = (*range(first, first + num_seen), *range(num_global, num_all))
        made, parts, networks = self._made(), {}, networks_of(self.method)
        for need in (*term.needs, *(part for part in term.takes if part in networks)):
            part = made.get(child_of(self.method, need) or "")
            if part is None and not is_over:
                continue
            is_of_views = not (need == "queue" or need.startswith("momentum_"))
            if part is not None and is_of_views and len(part) == num_seen < len(columns):
                columns = columns[:num_seen]  # a method without local views
            if part is None or (is_of_views and len(part) != len(columns)):
                got = "none" if part is None else len(part)
                raise UsageError(
                    f"term {name} needs the {need.replace('_', ' ')} of "
                    f"{counted(len(columns), 'view')} from one step of "
                    f"{type(self.method).__name__}, got {got}; the step takes every view once "
                    "through forward_groups or forward_views"
                )
            parts[need] = part
        kept = self.kept.setdefault(name, {})
        return Seen(self.views, self.progress, columns, num_seen, parts, self.seed, kept, networks)

    def _made(self) -> Mapping[str, torch.Tensor]:
        """The outputs so far, by child; of each all views, in their order."""
        made: dict[str, torch.Tensor] = {}
        for name, child in self.method.named_children():
            if found := [output for network, output in self.outputs if network is child]:
                made[name] = torch.cat(found)
        if self.queue is not None:
            made["queue"] = self.queue
        return made
