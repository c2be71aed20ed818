"""Terms by name, imported when asked for, and their settings as a recipe writes them.

    method: {name: simsiam, terms: [{name: augself, weight: 0.5, flip: 1.0}]}

A name alone stands for the term with its defaults, and a text of names with commas for several. A
term of one's own is `package.module:Class` or an entry point (shards/plugins/find.py), its
`Settings` beside the class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from shards.plugins.find import first_line_of
from shards.plugins.making import find_class, find_settings
from trainer.checks import require
from trainer.settings.bounds import NotNegative, check_bounds
from trainer.settings.strict import build, check_keys, to_mapping

if TYPE_CHECKING:  # names and what they say are told without torch
    from trainer.terms.term import Term

TERMS = {
    "augself": "trainer.terms.augself:AugSelf",
    "brownian": "trainer.terms.brownian:Brownian",
    "centroid": "trainer.terms.centroid:Centroid",
    "compress": "trainer.terms.compress:Compress",
    "compress_predictor": "trainer.terms.compress_predictor:CompressPredictor",
    "dssl": "trainer.terms.dssl:DSSL",
    "hsic": "trainer.terms.hsic_term:HSIC",
    "mochi": "trainer.terms.mochi:MoCHi",
    "singular": "trainer.terms.singular:Singular",
}
Written = str | Sequence[str | Mapping[str, Any]]  # method.terms as a recipe has it


@dataclass(frozen=True, slots=True, kw_only=True)
class TermConfig:
    """The keys that every term has."""

    name: str
    weight: NotNegative = 1.0  # of its loss beside the method's

    def __post_init__(self) -> None:
        check_bounds("a term's", self)


@dataclass(frozen=True, slots=True)
class Given:
    """One term of a run."""

    name: str
    weight: float
    settings: Any  # the `Settings` beside its class

    @property
    def label(self) -> str:
        """What its loss is called in the records: the class of package.module:Class."""
        return self.name.rpartition(":")[2]


def term_class(name: str) -> "type[Term]":
    """The class that a name means, ours or one's own; UsageError for neither."""
    from trainer.terms.term import Term  # loads torch, which a name alone does not need

    return find_class("terms", name, TERMS, base=Term)


def term_names(written: Written) -> tuple[str, ...]:
    """The names alone, of what reads as one; imports nothing."""
    return tuple(str(item["name"]) for item in mappings(written) if "name" in item)


def mappings(written: Written) -> list[dict[str, Any]]:
    """Each as a mapping of the keys that were written; nothing is checked."""
    return [{"name": x} if isinstance(x, str) else dict(x) for x in _items(written)]


def read_terms(written: Written) -> tuple[Given, ...]:
    """The terms with their settings checked; UsageError for the first thing that is wrong."""
    found = tuple(_read(item, f"method.terms[{i}]") for i, item in enumerate(mappings(written)))
    labels = [term.label for term in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    require(not twice, "a run has a term once", ", ".join(twice), "add up their weights")
    return found


def written_out(terms: Sequence[Given]) -> tuple[dict[str, Any], ...]:
    """Every key of every term; `read_terms` is the inverse."""
    return tuple(
        {"name": term.name, "weight": term.weight, **to_mapping(term.settings)} for term in terms
    )


def describe_terms() -> dict[str, str]:
    """Every term's name and the first line of its file, which is not imported."""
    return {name: first_line_of(address) for name, address in TERMS.items()}


def _items(written: Written) -> Sequence[str | Mapping[str, Any]]:
    if not isinstance(written, str):
        return written
    return [name.strip() for name in written.split(",")] if written.strip() else []


def _read(values: Mapping[str, Any], where: str) -> Given:
    own = {key: value for key, value in values.items() if key not in ("name", "weight")}
    common = build(TermConfig, {k: v for k, v in values.items() if k not in own}, where)
    cls = find_settings("terms", common.name, TERMS, term_class(common.name))
    check_keys(values, ["name", "weight", *(field.name for field in fields(cls))], where)
    return Given(common.name, common.weight, build(cls, own, where))
