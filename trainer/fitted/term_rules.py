"""Rules of the fitted recipe by term: keys that nobody typed, by the method and the run's length.

A term without a rule has its settings' defaults. What is typed of a term stays, and is refused
where it does not fit.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trainer.fitted.choices import rounded
from trainer.terms.term_table import Written, mappings


def fit_terms(
    written: Written,  # method.terms as they were typed
    method: object,  # the settings of the run's method
    epochs: float,
) -> tuple[list[dict[str, Any]], str]:
    """Every term with the keys that fit, and why; no reason where all stay as they were typed."""
    terms, reasons = [], []
    for term in mappings(written):
        rule = TERM_RULES.get(term["name"])
        keys, why = ({}, "") if rule is None else rule(method, epochs)
        chosen = {key: value for key, value in keys.items() if key not in term}
        terms.append({**term, **chosen})
        reasons += [why] if chosen else []
    return terms, "; ".join(reasons)


Keys = tuple[Mapping[str, Any], str]  # a term's, and why


def _mochi(method: object, epochs: float) -> Keys:
    """The demo recipe's shares of a short queue and a short run, up to the published numbers."""
    length = getattr(method, "queue_length", 0)
    if not length:  # refused, in words that say what is missing
        return {}, ""
    keys = {
        "hardest": max(1, min(1024, length // 8)),
        "pairs": max(1, min(1024, length // 8)),
        "with_query": max(1, min(128, length // 32)),
        "start_epoch": rounded(min(10.0, epochs / 8)),
    }
    return keys, f"mixtures of an eighth of the queue's {length:,}, after an eighth of the run"


TERM_RULES: Mapping[str, Callable[[object, float], Keys]] = {"mochi": _mochi}
