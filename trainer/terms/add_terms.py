"""Adds terms to a method: they see what its step makes, and their losses join its own.

They become a child of the method, `terms`, so that the optimizer, DDP and checkpoints take their
layers as they take its heads. All names of the method stay, and so does what it computes.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import nn

from augengine.policy import Policy
from augengine.views import Views
from shards.errors import UsageError
from shards.plugins.making import make
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.multicrop import keep_outputs
from trainer.terms.term import PARTS, Seen, Term
from trainer.terms.term_table import Given, term_class


def add_terms(method: Method, given: Sequence[Given], policy: Policy) -> None:
    """Give the method these terms; without any it stays as it is.

    Raises:
        UsageError: the method lacks what one of them needs, or the policy does.
    """
    if not given:
        return
    num_seen = method.seen_global_views(policy.groups[0].count)
    terms: list[Term] = []
    for one in given:
        cls = term_class(one.name)
        _check(one.name, cls, method, num_seen)
        offered = {"settings": one.settings, "feature_dim": feature_dim(method.backbone)}
        terms.append(make("terms", one.name, cls, {**offered, "policy": policy}))
    method.terms = Terms(given, terms)
    compared = [method.batch_loss, *(term.batch_loss for term in terms)]
    method.batch_loss = next(filter(None, compared), None)


class Terms(nn.ModuleList):
    """The terms of a run; `terms.0` is the first one's name in a checkpoint."""

    def __init__(self, given: Sequence[Given], terms: Sequence[Term]) -> None:
        super().__init__(terms)
        self.given = tuple(given)

    def forward(self, method: Method, views: Views, progress: Progress) -> StepResult:
        """The method's step with the weighted losses of the terms in its loss and its metrics."""
        queue = _queue_of(method)
        with keep_outputs() as kept:
            result = method.step(views, progress)
        outputs: dict[str, torch.Tensor] = {}
        for name, child in method.named_children():
            if found := [output for network, output in kept if network is child]:
                outputs[name] = torch.cat(found)
        if queue is not None:
            outputs["queue"] = queue
        loss, metrics = result.loss, dict(result.metrics)
        for one, module in zip(self.given, self, strict=True):
            term = cast(Term, module)
            added = term(_seen(method, one.name, term, views, progress, outputs))
            loss = loss + one.weight * added
            metrics[f"term_{one.label}"] = added.detach()
        return StepResult(loss, result.embeddings, metrics)


def _check(name: str, cls: type[Term], method: Method, num_seen: int) -> None:
    of = type(method).__name__
    for need in cls.needs:
        if need not in PARTS:
            raise UsageError(f"a term needs some of {', '.join(PARTS)}, got {need} of {name}")
        if _child(method, need) is None:
            raise UsageError(
                f"term {name} needs {need.replace('_', ' ')} (a child {' or '.join(PARTS[need])} "
                f"whose rows are the views in their order), got none from {of}; leave it out, or "
                "choose another --method"
            )
    if num_seen < cls.min_global_views:
        raise UsageError(
            f"term {name} needs {cls.min_global_views} global views that the trained network sees, "
            f"got {num_seen} from {of}; add one to --views"
        )


def _child(method: Method, part: str) -> str | None:
    """The name of the method's child that makes the part; None when it has none."""
    children = dict(method.named_children())
    for name in PARTS[part]:
        if name in children and name not in method.unaligned:
            return None if isinstance(children[name], nn.Identity) else name
    return None


def _queue_of(method: Method) -> torch.Tensor | None:
    rows = getattr(dict(method.named_children()).get("queue"), "rows", None)
    return rows if isinstance(rows, torch.Tensor) else None


def _seen(
    method: Method,
    name: str,
    term: Term,
    views: Views,
    progress: Progress,
    outputs: Mapping[str, torch.Tensor],  # by child
) -> Seen:
    """What the term needs of the step; UsageError when the step did not make it."""
    num_all, num_global = views.num_views, len(views.crops[0])
    num_seen = method.seen_global_views(num_global)
    first = method.first_seen_view
    columns = (*range(first, first + num_seen), *range(num_global, num_all))
    parts: dict[str, torch.Tensor] = {}
    for need in term.needs:
        part = outputs.get(_child(method, need) or "")
        is_of_views = not (need == "queue" or need.startswith("momentum_"))
        if part is not None and is_of_views and len(part) == num_seen < len(columns):
            columns = columns[:num_seen]  # a method without local views
        if part is None or (is_of_views and len(part) != len(columns)):
            raise UsageError(
                f"term {name} needs the {need.replace('_', ' ')} of {len(columns)} views from one "
                f"step of {type(method).__name__}, got {'none' if part is None else len(part)}; "
                "the step takes every view once through forward_groups or forward_views"
            )
        parts[need] = part
    return Seen(views, progress, columns, num_seen, parts)
