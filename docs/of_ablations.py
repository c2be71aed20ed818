"""The page of the papers' ablations: what each paper found, and what was found here."""

import statistics
from collections import Counter
from typing import Any

from make import DOCS, RESULTS, results, table

from benchmarks.ablations.ablation import CHANCE, UNTRAINED, Ablation, judged
from benchmarks.ablations.ablation_picture import draw_ablations
from benchmarks.ablations.ablation_rows import Length, Rows, lengths_of, rows_of, scores_of
from benchmarks.ablations.ablation_table import ABLATIONS
from shards.terminal.counted import counted

PICTURE = DOCS / "ablations.png"
NOT_RUN = "not run"


def _rows() -> list[dict[str, Any]]:
    path = RESULTS / "ablations.json"
    return results("ablations")["rows"] if path.is_file() else []


def _about() -> str:
    """What was run so far, and under which conditions."""
    rows = _rows()
    if not rows:
        return "None was run yet."
    every = {(one.name, cell.label): cell for one in ABLATIONS.values() for cell in one.cells}
    kinds = len({cell.words for cell in every.values()})
    parts = []
    for length in lengths_of(ABLATIONS.values(), rows):
        done = {cell.words for cell in every.values() if rows_of(cell, rows, length)}
        here = [row for row in rows if Length(row["set"], row["epochs"]) == length]
        parts.append(
            f"{len(done)} of {kinds} different runs of {length.epochs:g} epochs on {length.set}, "
            f"seed {', '.join(str(s) for s in sorted({row['seed'] for row in here}))}"
        )
    machine, dates = rows[0]["conditions"], sorted(row["conditions"]["date"][:10] for row in rows)
    loads = sorted(row["conditions"]["load_average_1min"] for row in rows)
    minutes = sorted(row["seconds"] / 60 for row in rows)
    return (
        f"{'; '.join(parts)}. {counted(machine['cores'], 'core')} of an {machine['cpu']}, torch "
        f"{machine['versions']['torch']}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; "
        f"others used the cores too (load average {loads[0]:.1f} to {loads[-1]:.1f}), so that a "
        f"run took {minutes[0]:.0f} to {minutes[-1]:.0f} minutes "
        "([ablations.json](../benchmarks/results/ablations.json))."
    )


def _outcomes() -> str:
    """A line a claim."""
    rows, body = _rows(), []
    for ablation in ABLATIONS.values():
        for length in lengths_of([ablation], rows) or [None]:
            scores = scores_of(ablation, rows, length) if length else {}
            where = f"{length.set}, {length.epochs:g} epochs" if length else ""
            for verdict in judged(ablation, scores):
                points = "" if verdict.margin is None else f"{verdict.margin:+.1f}"
                link = f"[`{ablation.name}`](#{ablation.name})"
                body.append([link, verdict.claim.text, where, points, verdict.outcome])
    head = ["ablation", "holds when", "where", "points on its side", "outcome"]
    return table(head, body, (0, 1, 2, 4))


def _picture() -> str:
    """The picture, of the set and length with most runs."""
    length = _pictured()
    if length is None:
        return "No picture yet."
    return f"![kNN by cell, {length.set}, {length.epochs:g} epochs]({PICTURE.name})"


def _pictured() -> Length | None:
    counts = Counter(Length(row["set"], row["epochs"]) for row in _rows())
    known = lengths_of(ABLATIONS.values(), _rows())
    return max(known, key=lambda length: counts[length], default=None)


def draw_picture() -> None:
    """Write docs/ablations.png, where anything was run."""
    length = _pictured()
    if length is not None:
        draw_ablations([*ABLATIONS.values()], _rows(), length, PICTURE)


def _each() -> str:
    """Every ablation under a heading."""
    return "\n\n".join(_one(ablation) for ablation in ABLATIONS.values())


def _one(ablation: Ablation) -> str:
    rows, parts = _rows(), [f"### {ablation.name}", ablation.question]
    parts.append(f"**Paper** ({ablation.source}). {ablation.finding}")
    parts.append(f"**Here.** {ablation.unlike}")
    places = list(dict.fromkeys(cell.at for cell in ablation.cells))
    lengths = lengths_of([ablation], rows)
    if not lengths:
        cells = f"{len(ablation.cells)} cells, {ablation.across}: {', '.join(places)}"
        parts.append(f"Not run yet: {cells}.")
    for length in lengths:
        scores = scores_of(ablation, rows, length)
        by_series: dict[str, dict[str, str]] = {}
        for cell in ablation.cells:
            found = by_series.setdefault(cell.series, {})
            found[cell.at] = _score(scores.get(cell.label), rows_of(cell, rows, length))
        body = [[name, *(found[at] for at in places)] for name, found in by_series.items()]
        untrained = f"; untrained {scores[UNTRAINED]:.1f}" if scores else ""
        head = [f"{length.set}, {length.epochs:g} epochs{untrained}", *places]
        parts.append(table(head, body))
        parts += [f"- {verdict}" for verdict in judged(ablation, scores)]
    return "\n\n".join(parts)


def _score(score: float | None, rows: Rows) -> str:
    """With the mean spread of its seeds."""
    if score is None:
        return NOT_RUN
    return f"{score:.1f} ({statistics.fmean(row['std'] for row in rows):.2f})"


def _chance() -> str:
    """The rule of an outcome."""
    return (
        f"A claim holds, or fails, when scores are {CHANCE:g} points or more on its side, or "
        f"against it; between, it is undecided. It is decided once the cells that it compares were "
        "run, with the same seeds."
    )


BLOCKS = {
    "ablations run": _about,
    "ablation outcomes": _outcomes,
    "ablation rule": _chance,
    "ablation picture": _picture,
    "ablations": _each,
}
