"""Rewrites the tables in scale-simulation.md from the JSON: `python docs/scale_simulation.py`.

tests/tools/test_scale_doc.py fails when the document is not what the JSON says.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "scale-simulation.md"
RESULTS = ROOT / "benchmarks" / "results"
MARK, END = "<!-- {}: made by docs/scale_simulation.py -->", "<!-- end of {} -->"


def with_tables(document: str) -> str:
    """The document's text with every block made anew."""
    for name, make in BLOCKS.items():
        mark, end = MARK.format(name), END.format(name)
        before, rest = document.split(mark)
        document = f"{before}{mark}\n\n{make()}\n\n{end}{rest.split(end, 1)[1]}"
    return document


def _once() -> str:
    cases, done = _cases(), _results("epoch")["conditions"]
    lines = [
        f"{cases[0]['num_failures']} failures an epoch, each followed by another number of ranks; "
        f"global batch {cases[0]['batch_size']:,}, {cases[0]['shard_samples']:,} samples a shard, "
        f"seed {cases[0]['seed']}; {done['cores']} cores of an {done['cpu']}, {done['date']}, "
        f"commit {done['commit']}.",
        "",
        "| samples | order | ranks | steps | lost and done again | never | once | more often | "
        "rank splits checked | state |",
        f"|---:|---|---|{'---:|' * 7}",
    ]
    for case in cases:
        epoch = case["epoch"]
        counts = (epoch["steps"], epoch["steps_lost"], *epoch["times_seen"].values())
        splits = f"{epoch['rank_splits_checked']:,} of {epoch['steps'] + epoch['steps_lost']:,}"
        lines.append(
            f"| {case['num_samples']:,} | {case['order']} | {epoch['worlds'][0]} to "
            f"{epoch['worlds'][-1]} | {' | '.join(f'{n:,}' for n in counts)} | {splits} | "
            f"{epoch['state_bytes']} B |"
        )
    return "\n".join(lines)


def _shuffle() -> str:
    lines = [
        "| samples | order | displacement | correlation | shards a batch | their entropy, bits |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    forms = {"displacement": ".4f", "correlation": ".4f", "shards_per_batch": ",.0f"}
    forms["entropy_bits"] = ".2f"
    for case in _cases():
        cells = " | ".join(
            f"{case['shuffle'][key]:{form}} ({case['uniform'][key]:{form}})"
            for key, form in forms.items()
        )
        lines.append(f"| {case['num_samples']:,} | {case['order']} | {cells} |")
    return "\n".join(lines)


def _cost() -> str:
    worlds = list(_cases()[0]["opens_per_shard"])
    heads = " | ".join(f"{n} rank{'s' * (n != '1')}" for n in worlds)
    lines = [
        f"| samples | order | opens of a shard, all ranks: {heads} | MiB a rank |",
        f"|---:|---|{'---:|' * (len(worlds) + 1)}",
    ]
    for case in _cases():
        opens = " | ".join(f"{n:,}" for n in case["opens_per_shard"].values())
        mib = max(case["rank_bytes"].values()) / 2**20
        lines.append(f"| {case['num_samples']:,} | {case['order']} | {opens} | {mib:.1f} |")
    return "\n".join(lines)


def _start() -> str:
    report = _results("scale")
    found, settings, done = report["results"], report["settings"], report["conditions"]
    before, started, after = (found[f"{x}_mb"] for x in ("before", "started", "after_lookups"))
    lookups = settings["batch"] * settings["batches"]
    low, high = found["open_s_range"]
    rows = [
        ("index.npy", f"{found['index_bytes'] / 1e9:.1f} GB, mapped"),
        ("manifest.json", f"{found['manifest_bytes'] / 1e6:.1f} MB"),
        ("start, CPU time", f"{found['start_cpu_s']:.2f} s (wanted: under 2 s)"),
        ("opening, by the clock", f"{found['open_s']:.2f} s ({low:.2f} to {high:.2f})"),
        ("most resident memory at the start", f"{started['VmHWM']:.0f} MB (wanted: under 500 MB)"),
        ("of it Python and numpy", f"{before['VmRSS']:.0f} MB"),
        (f"the same after {lookups:,} lookups all over it", f"{after['VmHWM']:.0f} MB"),
        ("of it pages of the index, which the system may take back", f"{after['RssFile']:.0f} MB"),
        ("a lookup, CPU time", f"{found['lookup_cpu_us']:.0f} us"),
        (
            "data-side state of a checkpoint",
            f"{found['state_bytes']:.0f} B (wanted: under 1 KB), the cursor "
            f"{found['cursor_bytes']:.0f} B of it",
        ),
    ]
    lines = [
        f"{settings['samples']:,} samples in {settings['shards']:,} shards, median of "
        f"{settings['repeats']} fresh processes; {done['cores']} cores of an {done['cpu']}, load "
        f"average {done['load_average_1min']}, {done['date']}, commit {done['commit']}.",
        "",
        "| | |",
        "|---|---:|",
    ]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)])


def _cases() -> list[dict[str, Any]]:
    cases = _results("epoch")["cases"]
    return [{"shard_samples": c["num_samples"] // c["num_shards"], **c} for c in cases]


def _results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


BLOCKS: dict[str, Callable[[], str]] = {
    "once": _once,
    "shuffle": _shuffle,
    "cost": _cost,
    "start": _start,
}


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
