"""The tables of methods.md: every method and term, its scores, and its loss beside lightly's."""

from itertools import product
from typing import Any

from make import NOT_MEASURED, RESULTS, number, results, table

from benchmarks.methods.term_recipes import BASES
from trainer.methods.method_table import METHODS, describe_methods
from trainer.terms.term_table import describe_terms


def _scores() -> str:
    """The table of benchmarks/methods/recipes.py on the demo set."""
    rows = results("methods_demo")["methods"]
    done = next(iter(rows.values()))["conditions"]
    others = [n for n, row in rows.items() if row["conditions"]["cpu"] != done["cpu"]]
    elsewhere = f" ({', '.join(others)}: {rows[others[0]]['conditions']['cpu']})" if others else ""
    about = (
        f"The demo set, each method by its recipe `NAME_demo`, seed 0: {done['cores']} cores of an "
        f"{done['cpu']}{elsewhere}, torch {done['versions']['torch']}; one run each, seconds with "
        "its kNN evaluations, most memory of the whole process. Random: the same encoder "
        "untrained. Load: of the machine, whose cores others used too, over the minute before; "
        "seconds and img/s of rows that differ in it do not compare."
    )
    head = "method|epochs|views|kNN|random|linear probe|seconds|img/s|load|MiB".split("|")
    of_runs = ("distill", "simreg")  # they learn from a run, and have no score of their own
    names = [name for name in METHODS if name not in of_runs]
    body = table(head, ([f"`{name}`", *_score(rows.get(name))] for name in names), (0, 2))
    link = f"([methods_demo.json](../benchmarks/results/methods_demo.json), {_dates(rows)})"
    return f"{about}\n\n{body}\n\n{link}"


def _score(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return [NOT_MEASURED, *[""] * 8]
    forms = {"epochs": "g", "views": "", "knn": ".1%", "random_knn": ".1%", "linear": ".1%"}
    forms |= {"seconds": ".0f", "images_per_s": ".0f", "load": ".1f", "peak_mib": ",.0f"}
    row = row | {"load": row["conditions"]["load_average_1min"]}
    # A row that was made with --no-linear has no probe.
    return ["" if row[key] is None else format(row[key], form) for key, form in forms.items()]


def _fitted() -> str:
    """The table of benchmarks/methods/fitted.py: a method a line, a column a set and views."""
    rows = results("fitted")["rows"] if (RESULTS / "fitted.json").is_file() else []
    if not rows:
        return "Not measured yet."
    columns = sorted({_place(row) for row in rows})
    head = ["method", *(f"{name}, {views}, {epochs:g} epochs" for name, views, epochs in columns)]
    lines = []
    for name, optimizer in product(METHODS, sorted({row["optimizer"] for row in rows})):
        ours = [r for r in rows if (r["method"], r["optimizer"]) == (name, optimizer)]
        cells = [_gains([row for row in ours if _place(row) == column]) for column in columns]
        lines += [[f"`{name}`, {optimizer}", *cells]] if ours else []
    dates = _dates(dict(enumerate(rows)))
    link = f"([fitted.json](../benchmarks/results/fitted.json), {dates})"
    return f"{table(head, lines, range(len(head)))}\n\n{link}"


def _place(row: dict[str, Any]) -> tuple[str, str, float]:
    return row["set"], row["views"], row["epochs"]


def _gains(rows: list[dict[str, Any]]) -> str:
    """The mean over seeds of random kNN and kNN, with the gain in points."""
    if not rows:
        return "not run"
    before, after = (sum(r[key] for r in rows) / len(rows) for key in ("random_knn", "knn"))
    seeds = f", {len(rows)} seeds" if len(rows) > 1 else ""
    return f"{before:.1%} → {after:.1%} ({100 * (after - before):+.1f}{seeds})"


def _dates(rows: dict[Any, Any]) -> str:
    dates = sorted(row["conditions"]["date"][:10] for row in rows.values())
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"


def _what_they_are() -> str:
    """Every method with the first line of its file."""
    return "\n".join(f"- `{name}`: {what}" for name, what in describe_methods().items())


def _terms() -> str:
    """Every term with the first line of its file."""
    return "\n".join(f"- `{name}`: {what}" for name, what in describe_terms().items())


def _changes() -> str:
    """The table of benchmarks/methods/term_recipes.py, with its bases from recipes.py."""
    without = results("methods_demo")["methods"]
    rows = results("terms_demo")["recipes"] if (RESULTS / "terms_demo.json").is_file() else {}
    if not rows:
        return "Not measured yet."
    head = "recipe|random|base|base's kNN|kNN".split("|")
    body = []
    for name, row in rows.items():
        scores = row["random_knn"], without[BASES[name]]["knn"], row["knn"]
        before, base, after = (format(score, ".1%") for score in scores)
        body.append([f"`{name}`", before, f"`{BASES[name]}`", base, after])
    link = f"([terms_demo.json](../benchmarks/results/terms_demo.json), {_dates(rows)})"
    return f"{table(head, body, (0, 2))}\n\n{link}"


def _lightly() -> str:
    """The table of benchmarks/losses/lightly_losses.py."""
    found = results("lightly_losses")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    about = f"{versions}; float64, batch {found['batch_size']}, two views of one size."
    head = "method|ours|lightly's|ours, in lightly's convention|error|conventions".split("|")
    forms = {"ours": ".6f", "lightly": ".6f", "converted": ".6f", "error": ".0e"}
    rows = [
        [
            f"`{row['method']}`",
            *(number(row[key], form) for key, form in forms.items()),
            row["convention"],
        ]
        for row in found["rows"]
    ]
    return f"{about}\n\n{table(head, rows, (0, 5))}"


BLOCKS = {
    "list": _what_they_are,
    "terms": _terms,
    "changes": _changes,
    "fitted": _fitted,
    "scores": _scores,
    "lightly": _lightly,
}
