"""The tables of evaluation.md: label-free measures, transfer to other sets, lightly beside us."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from make import results, table
from of_parity import parity

from benchmarks.methods.factor_probe import ENCODERS, TASKS
from benchmarks.methods.study_tables import ACCURACIES, MEASURES, in_words

_NAMES = {
    "rankme": "RankMe",
    "alpha_req": "alpha, nearest to 1",
    "lidar": "LiDAR",
    "alignment": "alignment, less",
    "uniformity": "uniformity, less",
    "loss": "loss, less",
    "step": "step, later",
}
_FORMS = {"knn": ".1%", "linear": ".1%", "rankme": ".1f", "alpha_req": ".2f", "lidar": ".1f"}
_FORMS |= {"alignment": ".3f", "uniformity": ".2f", "loss": ".2f"}


def _about() -> str:
    """What was run, and under which conditions."""
    rows = results("label_free_study")["rows"]
    (first, *_), methods = rows, ", ".join(f"`{row['method']}`" for row in rows)
    machine, images = first["conditions"], first["images"]
    dates = sorted({row["conditions"]["date"][:10] for row in rows})
    trained = sum(point["step"] > 0 for row in rows for point in row["points"])
    (sets,), (views,), (epochs,) = (
        {row[key] for row in rows} for key in ("set", "views", "epochs")
    )
    return (
        f"{len(rows)} runs of {epochs:g} epochs by the fitted recipe, {methods}, views {views}, "
        f"seed 0, on {images['train']:,} images of {sets} (32 px), scored on {images['test']:,} "
        f"held-out ones: {trained} trained checkpoints and the untrained encoder. One run each; "
        f"{machine['cores']} cores of an {machine['cpu']}, torch {machine['versions']['torch']}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))} "
        "([label_free_study.json](../benchmarks/results/label_free_study.json))."
    )


def _across() -> str:
    """All trained checkpoints in one heap."""
    found = _analysis()["across_runs"]
    kinds = [(of, kind) for of in ACCURACIES for kind in ("spearman", "kendall")]
    head = ["better is", *(f"{kind.title()}, {_of(of)}" for of, kind in kinds)]
    body = [[_NAMES[m], *(in_words(found[m][of][kind]) for of, kind in kinds)] for m in MEASURES]
    return table(head, body)


def _within() -> str:
    """Each run by itself, and their means."""
    study = _analysis()
    each = study["each_run"]
    head = ["Spearman, kNN", *map(_short, each), "mean", "mean, trained alone", "untrained above"]
    body = []
    for name in MEASURES:
        cells = [in_words(each[run][name]["knn"]["spearman"]) for run in each]
        for of in ("within_runs_and_untrained", "within_runs"):
            cells.append(in_words(study[of][name]["knn"]["spearman"]))
        cells.append("{wrong} of {pairs}".format(**study["untrained"][name]))
        body.append([_NAMES[name], *cells])
    return table(head, body)


def _last() -> str:
    """The last checkpoint of each run, and an untrained encoder."""
    rows = results("label_free_study")["rows"]
    points = [(f"`{row['method']}`", row["points"][-1]) for row in rows]
    points += [(f"untrained ({rows[0]['method']}'s run)", rows[0]["points"][0])]
    head = ["last of", *(_of(key) for key in _FORMS)]
    return table(
        head, ([n, *(format(p[k], form) for k, form in _FORMS.items())] for n, p in points)
    )


def _regret() -> str:
    """What each rule keeps."""
    study = _analysis()
    runs = [*study["choices"].values(), study["across_choices"]]
    head = ["kept by", *map(_short, study["choices"]), "of all runs"]
    rules = {rule: [f"{run[rule]['knn_regret']:.1f}" for run in runs] for rule in runs[0]}
    rules["step"][-1] = ""  # the last checkpoints of all runs are of one step
    return table(head, ([_rule(rule), *cells] for rule, cells in rules.items()))


def _transfer() -> str:
    """A row a set, the encoders side by side; under which conditions."""
    rows = results("transfer")["rows"]
    encoders = list(dict.fromkeys(row["encoder"] for row in rows))
    by_set: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_set.setdefault(row["set"], {})[row["encoder"]] = row
    head = ["set", *(f"{what}, {one}" for what in ("linear", "kNN") for one in encoders)]
    body = [
        [
            f"`{name}`",
            *(f"{of[one]['linear']:.1%} ±{100 * of[one]['spread']:.1f}" for one in encoders),
            *(f"{of[one]['knn']:.1%}" for one in encoders),
        ]
        for name, of in by_set.items()
    ]
    first, machine = rows[0], rows[0]["conditions"]
    return (
        f"{table(head, body)}\n\n"
        f"`{first['encoder']}`: {first['method']}, {first['arch']}, views of {first['views']}, "
        f"{first['epochs']:.1f} epochs, one run, seed 0; the spread is of the probe's seeds "
        f"{first['seeds']}. One core of an {machine['cpu']}, torch "
        f"{machine['versions']['torch']}, {machine['date'][:10]} "
        "([transfer.json](../benchmarks/results/transfer.json))."
    )


def _factors() -> str:
    """A row an encoder, its probes' scores over the runs' seeds; under which conditions."""
    rows = results("factor_probe")["rows"]
    tasks = ["class", *TASKS]
    by_encoder = {name: [row for row in rows if row["encoder"] == name] for name in ENCODERS}
    body = [
        [name, *(_mean_and_half_range([row[task] for row in of]) for task in tasks)]
        for name, of in by_encoder.items()
    ]
    seeds = sorted({row["seed"] for row in rows})
    machine = rows[0]["conditions"]
    head = ["linear, %", *tasks]
    return (
        f"{table(head, body)}\n\n"
        f"Seeds {', '.join(map(str, seeds))} of the runs: mean, and half of the range. One core of "
        f"an {machine['cpu']}, torch {machine['versions']['torch']}, {machine['date'][:10]} "
        "([factor_probe.json](../benchmarks/results/factor_probe.json))."
    )


def _mean_and_half_range(shares: Sequence[float]) -> str:
    half = 50 * (max(shares) - min(shares))
    return f"{100 * fmean(shares):.1f} ±{half:.1f}"


def _analysis() -> Mapping[str, Any]:
    return results("label_free_study")["analysis"]


def _of(key: str) -> str:
    own = {"knn": "kNN", "linear": "linear probe", "alpha_req": "alpha"}
    return own.get(key, _NAMES.get(key, key).split(",")[0])


def _rule(rule: str) -> str:
    option = {"--select": "`--select`", "--select without labels": "`--select`, no kNN"}
    return option.get(rule, _NAMES.get(rule, rule))


def _short(run: str) -> str:
    """`set method views seed N`: the method alone."""
    return f"`{run.split()[1]}`"


BLOCKS = {
    "study": _about,
    "study across runs": _across,
    "study within runs": _within,
    "study last": _last,
    "study regret": _regret,
    "transfer": _transfer,
    "factors": _factors,
    "parity": parity,
}
