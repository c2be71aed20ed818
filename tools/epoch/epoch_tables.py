"""Tables of simulate_epoch.py for a terminal: exactly once, shuffle, cost."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

_SHUFFLE = {
    "displacement": ("displacement", ".4f"),
    "correlation": ("correlation", ".4f"),
    "shards a batch": ("shards_per_batch", ".0f"),
    "bits": ("entropy_bits", ".2f"),
}


def epoch_tables(cases: Sequence[dict[str, Any]]) -> Iterator[Table]:
    """Three tables of the cases that `simulate` returned."""
    failures = cases[0]["epoch"]["num_failures"]
    columns = ("ranks", "steps", "lost, done again", "never", "once", "more often")
    yield _table(f"one epoch, {failures} failures", columns, cases, _once)
    title = "shuffle; in brackets a uniform permutation's figures"
    yield _table(title, _SHUFFLE, cases, _shuffle)
    worlds = [f"{n} rank{'s' * (n != '1')}" for n in cases[0]["opens_per_shard"]]
    yield _table("opens of a shard, over all ranks; memory", (*worlds, "MiB a rank"), cases, _cost)


def _table(title: str, columns: Any, cases: Sequence[dict[str, Any]], cells: Any) -> Table:
    table = Table(title=title)
    for column in ("samples", "order", *columns):
        table.add_column(column, justify="left" if column == "order" else "right")
    for case in cases:
        table.add_row(f"{case['num_samples']:,}", case["order"], *cells(case))
    return table


def _once(case: dict[str, Any]) -> Iterator[str]:
    epoch = case["epoch"]
    yield f"{epoch['worlds'][0]} to {epoch['worlds'][-1]}"
    yield from (f"{n:,}" for n in (epoch["steps"], epoch["steps_lost"]))
    yield from (f"{n:,}" for n in epoch["times_seen"].values())


def _shuffle(case: dict[str, Any]) -> Iterator[str]:
    for key, form in _SHUFFLE.values():
        yield f"{case['shuffle'][key]:{form}} ({case['uniform'][key]:{form}})"


def _cost(case: dict[str, Any]) -> Iterator[str]:
    yield from (f"{n:,}" for n in case["opens_per_shard"].values())
    yield f"{max(case['rank_bytes'].values()) / 2**20:.1f}"
