"""What the study's points say: which measure orders checkpoints as accuracies do, and where not.

Every measure is turned so that more is better by its own rule (docs/evaluation.md): a correlation
of +1 is a measure that is right about every pair, of -1 one that is wrong about every pair. A
choice is what a rule would keep of a run's trained checkpoints; its regret is how many points of
accuracy the best of them has more.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.methods.rank_correlation import (
    Correlation,
    Estimate,
    kendall,
    over_points,
    spearman,
    within_groups,
)
from trainer.command.select_checkpoint import choose

Point = Mapping[str, float]
Rows = Sequence[Mapping[str, Any]]  # of label_free_study.json
# More is better: alpha by the rule of --select, nearest to 1.
MEASURES: dict[str, Callable[[Point], float]] = {
    "rankme": lambda point: point["rankme"],
    "alpha_req": lambda point: -abs(point["alpha_req"] - 1),
    "lidar": lambda point: point["lidar"],
    "alignment": lambda point: -point["alignment"],
    "uniformity": lambda point: -point["uniformity"],
    "loss": lambda point: -point["loss"],
    "step": lambda point: point["step"],  # later is better: what all others have to beat
}
ACCURACIES = ("knn", "linear")
CORRELATIONS: dict[str, Correlation] = {"spearman": spearman, "kendall": kendall}


def analysis(rows: Rows) -> dict[str, Any]:
    """All tables; the same of the same rows."""
    runs = {name_of(row): row["points"] for row in rows}
    trained = {name: [p for p in points if p["step"]] for name, points in runs.items()}
    lasts = {name: points[-1:] for name, points in runs.items()}
    return {
        "across_runs": _correlations(lambda name, of: _pooled(trained, name, of)),
        "last_of_each_run": _correlations(lambda name, of: _pooled(lasts, name, of)),
        "within_runs": _correlations(lambda name, of: _grouped(trained, name, of)),
        "within_runs_and_untrained": _correlations(lambda name, of: _grouped(runs, name, of)),
        "each_run": {
            run: _correlations(lambda name, of, run=run: _pooled({run: runs[run]}, name, of))
            for run in runs
        },
        "untrained": {name: _untrained(runs, name) for name in MEASURES},
        "choices": {run: choices(points) for run, points in trained.items()},
        "across_choices": choices([point for points in trained.values() for point in points]),
    }


def name_of(row: Mapping[str, Any]) -> str:
    """A run's name in the tables."""
    return f"{row['set']} {row['method']} {row['views']} seed {row['seed']}"


def in_words(estimate: Mapping[str, float | None]) -> str:
    """A correlation of `analysis` with its interval."""
    if estimate["value"] is None:
        return "none"
    return "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(**estimate)


def choices(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """What each rule keeps of some points; regrets in points of accuracy."""
    best = {of: max(point[of] for point in points) for of in ACCURACIES}
    # Points of several runs share steps: --select is asked by their places.
    with_labels = {at: dict(point) for at, point in enumerate(points)}
    without = {at: {k: v for k, v in p.items() if k != "knn"} for at, p in with_labels.items()}
    kept = {"--select": choose(with_labels)[0], "--select without labels": choose(without)[0]}
    for name, better in MEASURES.items():
        kept[name] = max(with_labels, key=lambda at, better=better: better(points[at]))
    kept["worst"] = min(with_labels, key=lambda at: points[at]["knn"])
    return {
        rule: {"step": points[at]["step"]}
        | {f"{of}_regret": round(100 * (best[of] - points[at][of]), 6) for of in ACCURACIES}
        for rule, at in kept.items()
    }


def _correlations(estimate: Callable[[str, str], dict[str, Estimate]]) -> dict[str, Any]:
    """By measure, accuracy and kind of correlation."""
    return {
        name: {
            of: {kind: _plain(found) for kind, found in estimate(name, of).items()}
            for of in ACCURACIES
        }
        for name in MEASURES
    }


def _plain(estimate: Estimate) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {
        key: None if math.isnan(value) else round(value, 6)
        for key, value in asdict(estimate).items()
    }


def _pooled(runs: Mapping[str, Sequence[Point]], name: str, of: str) -> dict[str, Estimate]:
    points = [point for run in runs.values() for point in run]
    pair = _columns(points, name, of)
    return {kind: over_points(found, *pair) for kind, found in CORRELATIONS.items()}


def _grouped(runs: Mapping[str, Sequence[Point]], name: str, of: str) -> dict[str, Estimate]:
    groups = [_columns(points, name, of) for points in runs.values()]
    return {kind: within_groups(found, groups) for kind, found in CORRELATIONS.items()}


def _columns(points: Sequence[Point], name: str, of: str) -> tuple[list[float], list[float]]:
    return [MEASURES[name](point) for point in points], [point[of] for point in points]


def _untrained(runs: Mapping[str, Sequence[Point]], name: str) -> dict[str, int]:
    """How many trained checkpoints of higher kNN the measure puts below their untrained encoder."""
    better = MEASURES[name]
    pairs = [
        (point, points[0])
        for points in runs.values()
        for point in points[1:]
        if point["knn"] > points[0]["knn"]
    ]
    wrong = sum(better(point) < better(first) for point, first in pairs)
    return {"pairs": len(pairs), "wrong": wrong}
