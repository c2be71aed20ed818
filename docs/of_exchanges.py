"""The table of scale.md: what ranks exchange in one step of every method."""

from typing import Any

from make import results, table

from trainer.methods.method_table import METHODS

UNITS = ((1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def _exchanges() -> str:
    """The table of benchmarks/steps/exchanges.py."""
    report = results("exchanges")
    settings, done = report["settings"], report["conditions"]
    about = (
        f"{settings['ranks']} ranks, a {settings['encoder']}, {settings['views']} views of "
        f"{settings['images_a_rank']} images a rank, float32; calls, and the bytes that one rank "
        f"gives. Torch {done['versions']['torch']}, {done['date'][:10]} "
        "([exchanges.json](../benchmarks/results/exchanges.json))."
    )
    steps = report["steps"]
    rows = [
        [
            f"`{name}`",
            _size(steps[name]["gradient_bytes"]),
            _calls(steps[name].get("batch_norm", {})),
            _calls(steps[name]["method"]),
        ]
        for name in METHODS
        if name in steps
    ]
    head = ["method", "gradients, by DDP", "batch norms", "the method itself"]
    return f"{about}\n\n{table(head, rows, (0, 2, 3))}"


def _calls(kinds: dict[str, Any]) -> str:
    found = (f"{calls} {kind}, {_size(size)}" for kind, (calls, size) in kinds.items())
    return "; ".join(found) or "none"


def _size(num_bytes: int) -> str:
    least, unit = next(each for each in UNITS if num_bytes >= each[0] or each[0] == 1)
    return f"{num_bytes / least:.3g} {unit}"


BLOCKS = {"exchanges": _exchanges}
