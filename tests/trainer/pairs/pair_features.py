"""The features of a run that may meet each other, their values, and what each meeting must come to.

A row of the array gives every feature one value. `refusal` says, from the promises of the documents
and not from the code, whether such a run is done or refused, and in which words.
"""

from collections.abc import Mapping
from itertools import combinations

from allpairspy import AllPairs

Row = Mapping[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]

FEATURES: dict[str, tuple[str, ...]] = {
    "method": (
        "barlow",
        "byol",
        "deepclusterv2",
        "dino",
        "distill",
        "empssl",
        "exemplar",
        "fastmoco",
        "instdisc",
        "lejepa",
        "mmcr",
        "mocov2",
        "mocov3",
        "msf",
        "nnclr",
        "relic",
        "ressl",
        "sce",
        "sat",
        "simclr",
        "simreg",
        "simsiam",
        "sslhsic",
        "swav",
        "tico",
        "vicreg",
        "wmse",
    ),
    "ranks": ("1", "2"),
    "source": ("folder", "parquet", "tars", "http", "s3"),
    "labels": ("all", "partly", "none"),  # of the training images
    "evaluation": ("none", "labelled", "partly", "damaged", "fewer", "itself", "other"),
    "bad": ("none", "some"),  # training images whose pixels are damaged on the disk
    "views": ("2", "2+6", "4", "1+1+6"),
    "policy": ("shipped", "own"),
    "arch": ("resnet10", "vit_tiny16", "timm:conv"),
    "backend": ("auto", "fused", "kornia", "dali"),
    "decoder": ("auto", "pillow", "dali"),
    "accumulate": ("1", "2"),
    "precision": ("fp32", "bf16"),
    "epochs": ("2", "2.7"),  # of 41 images in batches of 16
    "optimizer": ("sgd", "lars", "adamw", "muon"),
    "cache": ("none", "host"),
    "window": ("auto", "1", "null"),  # shards that are shuffled together
    "verify": ("false", "true"),
    "eval_px": ("null", "48"),
    "resume": ("none", "same", "other", "killed"),  # the second start's ranks; SIGKILL, not SIGTERM
    "after": ("export", "evaluate"),
}
SIZES = {"2": "32", "2+6": "32+16", "4": "32", "1+1+6": "32+32+16"}
# Losses that compare the images of a batch: a part of the batch would be another loss.
BATCH_LOSSES = (
    "barlow", "empssl", "fastmoco", "lejepa", "mmcr", "mocov3", "nnclr", "relic", "simclr",
    "sslhsic", "tico", "vicreg", "wmse",
)  # fmt: skip
ONE_VIEW_WILL_DO = ("distill", "exemplar", "instdisc", "sat", "simreg")


def refusal(row: Row) -> str | None:
    """What the one line of a refused run says, as a regular expression; None: the run is done.

    A row may lack features: then what the others come to.
    """
    method, views = row.get("method"), row.get("views")
    if views == "1+1+6" and row.get("policy") == "shipped":
        return r"describes [12] crop groups?, got --views 1\+1\+6"
    if views == "1+1+6" and method not in (None, *ONE_VIEW_WILL_DO):
        return "needs at least 2 global views"
    if row.get("accumulate") == "2" and method in BATCH_LOSSES:
        return "loop.accumulate is 1"
    if row.get("evaluation", "none") != "none" and row.get("labels") == "none":
        return "need labels, got none"
    if row.get("evaluation") == "other":
        return "class"
    return None


def pairs_of(row: Row) -> set[Pair]:
    """Every two features of a row with their values."""
    return {(a, b) for a, b in combinations(row.items(), 2)}


def covering_rows() -> list[Row]:
    """Rows that are done, in which any two values meet that may; refused ones would hide meetings.

    AllPairs loses some pairs to the filter; each of these gets a row of its own.
    """

    def may_be(values: list[str]) -> bool:
        return refusal(dict(zip(FEATURES, values, strict=False))) is None

    rows = [
        dict(zip(FEATURES, values, strict=True))
        for values in AllPairs(list(FEATURES.values()), filter_func=may_be)
    ]
    missing = possible_pairs() - {pair for row in rows for pair in pairs_of(row)}
    while missing:
        rows.append(completed(dict(min(missing)), missing))
        missing -= pairs_of(rows[-1])
    return rows


def refused_rows() -> list[Row]:
    """One row for each single value or pair of values that is reason enough to refuse a run."""
    single: list[Row] = [{a: x} for a, values in FEATURES.items() for x in values]
    reasons = [row for row in single if refusal(row)]
    alone = {next(iter(row.items())) for row in reasons}
    for a, b in combinations(FEATURES, 2):
        for x in FEATURES[a]:
            for y in FEATURES[b]:
                if not {(a, x), (b, y)} & alone and refusal({a: x, b: y}):
                    reasons.append({a: x, b: y})
    rows, wanted = [], possible_pairs()  # the rest of a row is as unlike the others' as may be
    for reason in reasons:
        rows.append(completed(reason, wanted))
        wanted -= pairs_of(rows[-1])
    return rows


def possible_pairs() -> set[Pair]:
    """Any two values that may stand in one run."""
    return {
        ((a, x), (b, y))
        for a, b in combinations(FEATURES, 2)
        for x in FEATURES[a]
        for y in FEATURES[b]
        if refusal({a: x, b: y}) is None
    }


def completed(partial: Row, wanted: set[Pair]) -> Row:
    """A whole row around a partial one, refused for no other reason, with many wanted pairs."""
    reason, row = refusal(partial), dict(partial)
    for feature in FEATURES:
        if feature in row:
            continue
        allowed = [
            value for value in FEATURES[feature] if refusal({**row, feature: value}) == reason
        ]
        row[feature] = max(allowed, key=lambda value: _num_wanted(row, feature, value, wanted))
    return {feature: row[feature] for feature in FEATURES}


def _num_wanted(row: Row, feature: str, value: str, wanted: set[Pair]) -> int:
    place = list(FEATURES).index
    pairs = (
        tuple(sorted([(feature, value), other], key=lambda item: place(item[0])))
        for other in row.items()
    )
    return sum(pair in wanted for pair in pairs)
