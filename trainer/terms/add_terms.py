"""Adds terms to a method: they see what its step makes, and join in (beside_step.py).

They become a child of the method, `terms`, so that the optimizer, DDP and checkpoints take their
layers as they take its heads. All names of the method stay.
"""

from collections.abc import Sequence
from typing import Any

from augengine.policy import Policy
from shards.errors import UsageError
from shards.plugins.making import make, parameters
from shards.terminal.counted import counted
from trainer.checks import require
from trainer.methods.protocol import Method
from trainer.nets.backbones import feature_dim
from trainer.terms.beside_step import Terms
from trainer.terms.part_children import child_of, queue_length, width_of
from trainer.terms.term import PARTS, Term
from trainer.terms.term_table import Given, term_class


def add_terms(method: Method, given: Sequence[Given], policy: Policy, seed: int = 0) -> None:
    """Give the method these terms; without any it stays as it is.

    Raises:
        UsageError: the method lacks what one of them needs or changes, or the policy does; two
            change the same thing; or heavy views are made that none of them takes.
    """
    _check_heavy(method, given, policy)
    if not given:
        return
    num_seen = method.seen_global_views(policy.groups[0].count)
    terms: list[Term] = []
    for one in given:
        cls = term_class(one.name)
        _check_needs(one.name, cls, method, num_seen)
        _check_changes(one, cls, method, [type(term) for term in terms])
        offered: dict[str, Any] = {
            "settings": one.settings,
            "feature_dim": feature_dim(method.backbone),
            "policy": policy,
            "widths": _widths(cls, method),
            "queue_length": queue_length(method),
        }
        terms.append(make("terms", one.name, cls, offered))
    method.terms = Terms(given, terms, seed)
    compared = [method.batch_loss, *(term.batch_loss for term in terms)]
    method.batch_loss = next(filter(None, compared), None)


def _widths(cls: type[Term], method: Method) -> dict[str, int]:
    """By part that the term needs: D; nothing is tried out for a term that does not ask."""
    asked = parameters(cls)
    if asked is not None and "widths" not in asked:
        return {}
    return {need: width_of(method, need) for need in cls.needs if need != "queue"}


def _check_needs(name: str, cls: type[Term], method: Method, num_seen: int) -> None:
    of = type(method).__name__
    for need in cls.needs:
        if need not in PARTS:
            raise UsageError(f"a term needs some of {', '.join(PARTS)}, got {need} of {name}")
        if child_of(method, need) is None:
            raise UsageError(
                f"term {name} needs {need.replace('_', ' ')} (a child {' or '.join(PARTS[need])} "
                f"whose rows are the views in their order), got none from {of}; leave it out, or "
                "choose another --method"
            )
    if num_seen < cls.min_global_views:
        raise UsageError(
            f"term {name} needs {counted(cls.min_global_views, 'global view')} that the trained "
            f"network sees, got {num_seen} from {of}; add one to --views"
        )


def _check_changes(
    one: Given, cls: type[Term], method: Method, others: Sequence[type[Term]]
) -> None:
    rule = f"term {one.name} adds a loss (forward) or changes something (changes, change)"
    does_something = cls.adds_a_loss() or cls.changes is not None
    require(does_something, rule, "neither", "define one in its class")
    if not cls.adds_a_loss():
        rule = f"term {one.name} adds no loss that could be weighed: its weight is 1"
        require(one.weight == 1, rule, one.weight, "leave the weight out")
    if cls.changes is None:
        return
    if cls.changes not in method.states:
        raise UsageError(
            f"term {one.name} changes the {cls.changes} of a step, got {type(method).__name__}, "
            f"which states {', '.join(method.states) or 'nothing that a term may change'}; leave "
            "it out, or choose another --method"
        )
    if rivals := [other.__name__ for other in others if other.changes == cls.changes]:
        raise UsageError(
            f"one term changes the {cls.changes} of a step, got {rivals[0]} and {cls.__name__}; "
            "leave one out"
        )


def _check_heavy(method: Method, given: Sequence[Given], policy: Policy) -> None:
    takers = (method, *(term_class(one.name) for one in given))
    if policy.heavy is not None and not any(taker.takes_heavy for taker in takers):
        raise UsageError(
            "policy.heavy makes views that a term takes and no method's own loss, got none that "
            f"does beside {type(method).__name__}; add --terms dssl, or policy.heavy=null"
        )
