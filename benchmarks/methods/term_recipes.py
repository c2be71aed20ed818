"""Terms that change a step, beside their base: kNN on the demo set after the same training.

    python -m benchmarks.methods.term_recipes [--recipes csimclr_demo,simclr_demo] [--seed N]

Each recipe differs from its base's by the term alone. A run is a process of its own, and its row is
written as soon as it is there; a later one replaces the row of its recipe and seed only.
docs/methods.md shows the table (python docs/make.py methods).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.methods.one_run import read_rows, train_once
from shards.atomic import write_whole
from shards.errors import run_command
from trainer.checks import choose

RESULTS = Path(__file__).parents[1] / "results" / "terms_demo.json"
BASES = {  # of each recipe with a term, the one without
    "csimclr_demo": "simclr_demo",
    "cbyol_demo": "byol_demo",
    "mochi_demo": "mocov2_demo",
}
RECIPES = (*BASES, *BASES.values())


def main(argv: list[str] | None = None) -> int:
    """Train, write, print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods.term_recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipes", metavar="A,B", default=",".join(RECIPES), help="default: all")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--out", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(argv)
    return run_command(lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> int:
    names = [choose("recipe", name, RECIPES) for name in options.recipes.split(",")]
    for name in names:
        print(f"{name}: training", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            words = ["--config", name, "--seed", str(options.seed)]
            row = {"recipe": name, "seed": options.seed, **train_once(words, Path(folder) / name)}
        # Anew every time: two of these may run beside each other.
        rows = [
            other
            for other in read_rows(options.out, "rows") or []
            if (other["recipe"], other["seed"]) != (name, options.seed)
        ]
        rows = sorted([*rows, row], key=lambda row: (RECIPES.index(row["recipe"]), row["seed"]))
        write_whole(options.out, json.dumps({"suite": "demo", "rows": rows}, indent=2) + "\n")
        print(f"{name}: {row['random_knn']:.1%} -> {row['knn']:.1%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
