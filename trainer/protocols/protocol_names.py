"""The protocols by name: what each measures, and which flags speak to it. Loads no torch.

`protocol_table.py` has the functions behind the names.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """What a command tells of a protocol before it runs one."""

    what: str  # for --help
    columns: tuple[str, ...]  # of its table, one a score
    takes: frozenset[str] = frozenset()  # flags that not all protocols have


_TRAINED = frozenset({"epochs", "rates", "decays"})
_WHOLE = "the whole encoder, fine-tuned on"
PROTOCOLS: Mapping[str, Said] = {
    "linear-sgd": Said(
        "a linear layer on the frozen encoder, crops and flips", ("top-1",), _TRAINED
    ),
    "knn": Said("nearest neighbours; k and T chosen", ("top-1",), frozenset({"k", "temperature"})),
    "semi-1": Said(f"{_WHOLE} 1 % of the labels, class-balanced", ("top-1",), _TRAINED),
    "semi-10": Said(f"{_WHOLE} 10 % of the labels, class-balanced", ("top-1",), _TRAINED),
    "finetune": Said(f"{_WHOLE} all labels", ("top-1",), _TRAINED),
    "svm": Said("one-vs-all linear SVMs on each layer's features", ("top-1",)),
    "transfer": Said(
        "linear probes on the sets of --to, one table", ("top-1", "class", "kNN"), frozenset({"to"})
    ),
    "corruptions": Said(
        "the linear probe under 15 common corruptions of 5 severities",
        ("mean", "1", "2", "3", "4", "5"),
        frozenset({"max_test_images"}),
    ),
}
