"""The table of evaluation.md that shows our training beside lightly's."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from make import results, table

from benchmarks.parity.agreement_run import TOLERANCE, agrees
from benchmarks.parity.parity_table import (
    MARK,
    ONE_SEED,
    SCORES,
    Compared,
    Side,
    alone,
    compared,
    not_run,
)
from benchmarks.parity.shared_settings import BATCH, DEPTH, DIFFERENT, PAIRS, WIDTH

_COSTS = {
    "images_per_s": ".0f",
    "data_wait": ".0%",
    "wall_s": ".0f",
    "cpu_s": ".0f",
    "peak_mib": ".0f",
}


def parity() -> str:
    """Both sides of every method that was run, what was not, and under which conditions."""
    report = results("parity")
    rows: Sequence[Mapping[str, Any]] = report["rows"]
    found = compared(rows)
    parts = [_agreement(report["agreement"]), _untrained(report["untrained"])]
    if found:
        parts += [_scores(found), _costs(found), _differences(found), _conditions(rows)]
    if lone := alone(rows):
        names = (
            f"`{r['method']}` seed {r['seed']} ({r['side']}, {r['knn']:.1%} kNN)" for r in lone
        )
        parts.append(f"Without the other side yet: {', '.join(names)}.")
    if missing := not_run(rows):
        parts.append(f"Not run on both sides: {_names(missing)}.")
    return "\n\n".join(parts)


def _agreement(agreement: Mapping[str, Mapping[str, Any]]) -> str:
    """Correctness, before scores."""
    same = [
        name for name in PAIRS if name in agreement and agreement[name]["loss_error"] is not None
    ]
    other = [name for name in PAIRS if name in agreement and name not in same]
    assert all(agrees(agreement[name]) for name in agreement)
    errors = [agreement[name][key] for name in same for key in ("loss_error", "gradient_error")]
    text = (
        f"One batch, the same weights, float64: loss and gradient of the encoder differ by at most "
        f"{max(errors):.0e} of their size for {_names(same)} ({TOLERANCE:g} is allowed)."
    )
    for name in other:
        cosine = agreement[name]["gradient_cosine"]
        text += f" `{name}` has {DIFFERENT[name]}; the cosine of its gradients is {cosine:.2f}."
    if missing := [name for name in PAIRS if name not in agreement]:
        text += f" Not compared: {_names(missing)}."
    return text


def _untrained(rows: Sequence[Mapping[str, Any]]) -> str:
    told = (
        f"{r['knn']:.1%} kNN, {r['linear']:.1%} linear ({r['set']}, seed {r['seed']})" for r in rows
    )
    return f"The encoder before training: {'; '.join(told)}."


def _scores(found: Sequence[Compared]) -> str:
    head = [
        "method",
        "set, epochs",
        "seeds",
        "kNN, ours",
        "lightly",
        "linear, ours",
        "lightly",
        "verdict",
    ]
    body = []
    for each in found:
        cells = [_score(side, name) for name in SCORES for side in (each.ours, each.lightly)]
        where = f"{each.set}, {each.epochs}"
        body.append([f"`{each.method}`", where, str(len(each.seeds)), *cells, _verdict(each)])
    return table(head, body, words=(0, 1, 7))


def _score(side: Side, name: str) -> str:
    text = f"{100 * side.means[name]:.1f}"
    return f"{text} ±{50 * side.spreads[name]:.1f}" if side.spreads[name] else text


def _verdict(each: Compared) -> str:
    said = {each.verdict(name) for name in SCORES}
    if ONE_SEED in said:
        return f"{ONE_SEED}: not judged"
    apart = [{"knn": "kNN"}.get(name, name) for name in SCORES if each.verdict(name) == MARK]
    return f"**{MARK}: {', '.join(apart)}**" if apart else "within the spread"


def _costs(found: Sequence[Compared]) -> str:
    names = ("img/s", "waits for data", "wall s", "CPU s", "peak MiB")
    head = ["ours / lightly", *names]
    body = [
        [f"`{each.method}`", *(_both(each, key, form) for key, form in _COSTS.items())]
        for each in found
    ]
    return table(head, body)


def _both(each: Compared, key: str, form: str) -> str:
    return " / ".join(format(side.means[key], form) for side in (each.ours, each.lightly))


def _differences(found: Sequence[Compared]) -> str:
    """What the sides could not share, of the methods that are shown."""
    told = (f"`{name}`: {DIFFERENT[name]}" for name in dict.fromkeys(each.method for each in found))
    return f"Not the same on both sides: {'; '.join(told)}."


def _conditions(rows: Sequence[Mapping[str, Any]]) -> str:
    theirs = next(row["versions"] for row in rows if row["side"] == "lightly")
    ours = next(row["conditions"] for row in rows if row["side"] == "ours")
    loads = [row["conditions"]["load_average_1min"] for row in rows]
    dates = sorted({row["conditions"]["date"][:10] for row in rows})
    machines = " or an ".join(sorted({row["conditions"]["cpu"] for row in rows}))
    return (
        f"ResNet-{DEPTH} of {WIDTH:g} times the width, {BATCH} images a step; one core a run of "
        f"{ours['cores']} of an {machines}, both sides of a seed on the same, load average "
        f"{min(loads):.0f} to {max(loads):.0f}: CPU seconds compare within a row, wall seconds and "
        "img/s are of that load. Ours by torch "
        f"{ours['versions']['torch']}; lightly {theirs['lightly']} by torch {theirs['torch']}, "
        f"torchvision {theirs['torchvision']}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))} "
        "([parity.json](../benchmarks/results/parity.json))."
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
