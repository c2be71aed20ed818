"""Rewrites the tables in methods.md from the benchmarks' JSON: `python docs/methods.py`.

tests/trainer/test_methods_doc.py fails when the document is not what the JSON says.
"""

import json
from pathlib import Path
from typing import Any

from trainer.methods.method_table import METHODS, describe_methods

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "methods.md"
RESULTS = ROOT / "benchmarks" / "results"
MARK, END = "<!-- {}: made by docs/methods.py -->", "<!-- end of {} -->"


def with_tables(document: str) -> str:
    """The document's text with every table made anew."""
    for name, make in BLOCKS.items():
        mark, end = MARK.format(name), END.format(name)
        before, rest = document.split(mark)
        document = f"{before}{mark}\n\n{make()}\n\n{end}{rest.split(end, 1)[1]}"
    return document


def _scores() -> str:
    """The table of benchmarks/methods/recipes.py on the demo set."""
    rows = json.loads((RESULTS / "methods_demo.json").read_text(encoding="utf-8"))["methods"]
    done = next(iter(rows.values()))["conditions"]
    others = [n for n, row in rows.items() if row["conditions"]["cpu"] != done["cpu"]]
    elsewhere = f" ({', '.join(others)}: {rows[others[0]]['conditions']['cpu']})" if others else ""
    lines = [
        f"The demo set, each method by its recipe `NAME_demo`, seed 0: {done['cores']} cores of an "
        f"{done['cpu']}{elsewhere}, torch {done['versions']['torch']}; one run each, seconds with "
        "its kNN evaluations, most memory of the whole process. Random: the same encoder "
        "untrained. Load: of the machine, whose cores others used too, over the minute before; "
        "seconds and img/s of rows that differ in it do not compare.",
        "",
        "| method | epochs | views | kNN | random | linear probe | seconds | img/s | load | MiB |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    names = [name for name in METHODS if name != "distill"]  # it has no score of its own
    lines += [_row(name, rows[name]) if name in rows else _missing(name) for name in names]
    lines += ["", f"([methods_demo.json](../benchmarks/results/methods_demo.json), {_dates(rows)})"]
    return "\n".join(lines)


def _fitted() -> str:
    """The table of benchmarks/methods/fitted.py: a method a line, a column a set and views."""
    path = RESULTS / "fitted.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    if not rows:
        return "Not measured yet."
    columns = sorted({(row["set"], row["views"], row["epochs"]) for row in rows})
    names = [name for name in METHODS if any(row["method"] == name for row in rows)]
    lines = [
        "| method | " + " | ".join(f"{s}, {v}, {e:g} epochs" for s, v, e in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in names:
        cells = [
            _gains([r for r in rows if r["method"] == name and _place(r) == c]) for c in columns
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"([fitted.json](../benchmarks/results/fitted.json), {_dates(dict(enumerate(rows)))})",
    ]
    return "\n".join(lines)


def _place(row: dict[str, Any]) -> tuple[str, str, float]:
    return row["set"], row["views"], row["epochs"]


def _gains(rows: list[dict[str, Any]]) -> str:
    """The mean over seeds of random kNN and kNN, with the gain in points."""
    if not rows:
        return "not run"
    before, after = (sum(r[key] for r in rows) / len(rows) for key in ("random_knn", "knn"))
    seeds = f", {len(rows)} seeds" if len(rows) > 1 else ""
    return f"{before:.1%} → {after:.1%} ({100 * (after - before):+.1f}{seeds})"


def _row(name: str, row: dict[str, Any]) -> str:
    return (
        f"| `{name}` | {row['epochs']:g} | {row['views']} | {row['knn']:.1%} | "
        f"{row['random_knn']:.1%} | {row['linear']:.1%} | {row['seconds']:.0f} | "
        f"{row['images_per_s']:.0f} | {row['conditions']['load_average_1min']:.1f} | "
        f"{row['peak_mib']:,.0f} |"
    )


def _missing(name: str) -> str:
    return f"| `{name}` | not measured |" + " |" * 8


def _dates(rows: dict[Any, Any]) -> str:
    dates = sorted(row["conditions"]["date"][:10] for row in rows.values())
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"


def _what_they_are() -> str:
    """Every method with the first line of its file."""
    return "\n".join(f"- `{name}`: {what}" for name, what in describe_methods().items())


def _lightly() -> str:
    """The table of benchmarks/losses/lightly_losses.py."""
    found = json.loads((RESULTS / "lightly_losses.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"{versions}; float64, batch {found['batch_size']}, two views of one size.",
        "",
        "| method | ours | lightly's | ours, in lightly's convention | error | conventions |",
        "|---|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| `{row['method']}` | {row['ours']:.6f} | {row['lightly']:.6f} | "
        f"{_number(row['converted'], '.6f')} | {_number(row['error'], '.0e')} | "
        f"{row['convention']} |"
        for row in found["rows"]
    ]
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


BLOCKS = {
    "list": _what_they_are,
    "fitted": _fitted,
    "scores": _scores,
    "lightly": _lightly,
}


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
