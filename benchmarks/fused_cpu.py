"""How fast is the fused backend on the CPU, against our other backends and the peers' transforms?

    python benchmarks/fused_cpu.py --peers-python PEERS/bin/python --out fused_cpu.json

Photographs, cut to 500x375 JPEGs; views of SwAV 2+6 (224 + 96 px) and BYOL 2 (224 px), and 2
views of 32 px. First every backend of ours is held against the slow reference. Then all cases take
turns in rounds, so that other load touches them alike; what counts is the ratio inside a round: the
median over rounds, with the lowest and highest. Peers run in their own environment (peer_worker.py,
which needs lightly and torchvision); without one they are left out, and it says so.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from photographs import Stock
from rich.console import Console
from rich.table import Table

from augengine.backends.protocol import Backend
from augengine.backends.table import create_backend
from augengine.decode import create_decoder
from augengine.draw import draw_plan
from augengine.policies import load_policy, override_policy
from augengine.policy import Policy
from augengine.reference import render
from shards.errors import DataError, UsageError, run_command
from tools.measure import Case, Result, Run, conditions, measure

GATE_MEAN_LEVELS = {"fused": 0.01, "kornia": 0.5, "dali": 1.0}
TARGETS = {
    "swav, lightly with decode": 6.0,
    "swav, dali": 4.0,
    "byol, lightly with decode": 5.0,
    "tiny, torchvision v2": 20.0,
}


def main(argv: list[str] | None = None) -> int:
    """Check, time, print the ratios, write the JSON; returns the exit code."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--peers-python", metavar="PATH", help="a Python with lightly and torchvision")
    add("--threads", default="1,2", metavar="N,M", help="default: %(default)s")
    add("--rounds", type=int, default=7, metavar="N", help="default: %(default)s")
    add("--seconds", type=float, default=3.5, metavar="S", help="a case (default: %(default)s)")
    add("--backends", default="kornia,dali", metavar="A,B", help="besides fused; %(default)s")
    add("--out", metavar="FILE", help="also write the figures and their conditions here")
    return parser


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    others = [name for name in options.backends.split(",") if name]
    threads = [int(number) for number in options.threads.split(",")]
    by_threads: dict[str, object] = {}
    report: dict[str, object] = {"conditions": conditions()}
    with tempfile.TemporaryDirectory() as folder:
        stock = Stock.make(Path(folder))
        errors = {name: _check(name, stock) for name in ("fused", *others)}
        report |= {"mean_error_levels": errors, "peers": None, "threads": by_threads}
        worker = _Peers(options.peers_python, Path(folder)) if options.peers_python else None
        report["peers"] = worker.versions if worker else None
        try:
            for num_threads in threads:
                cases = [*_own_cases(others, stock, num_threads), *_peer_cases(worker, num_threads)]
                results = measure(cases, seconds=options.seconds, num_rounds=options.rounds)
                by_threads[str(num_threads)] = _compare(results)
        finally:
            if worker:
                worker.close()
    _print(report)
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


class _Peers:
    """The worker process in the peers' environment."""

    def __init__(self, python: str, folder: Path) -> None:
        worker = Path(__file__).with_name("peer_worker.py")
        try:
            self._process = subprocess.Popen(
                [python, str(worker), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise UsageError(
                f"--peers-python is a Python that runs, got {python}: {error}"
            ) from error
        self.versions = self._read()

    def make_views(self, case: str, num_threads: int) -> dict[str, float]:
        """Have the peer make the views of a case's whole stock once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"case": case, "num_threads": num_threads}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _read(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DataError("the peers' worker ended early; its own message is above")
        return json.loads(line)


def _policies() -> dict[str, Policy]:
    tiny = override_policy(load_policy("simclr"), {"blur": 0.0, "scale": [0.2, 1.0]})
    return {
        "swav": load_policy("swav").with_views((2, 6), (224, 96)),
        "byol": load_policy("byol").with_views((2,), (224,)),
        "tiny": tiny.with_views((2,), (32,)),
    }


def _check(name: str, stock: Stock) -> float:
    """Mean error of a backend against the reference, in 8-bit levels; DataError out of bounds."""
    backend = create_backend(name, "cpu")
    errors = []
    for policy in _policies().values():
        images = stock.images[:3]
        plan = draw_plan(policy, np.arange(3), np.zeros(3), _sizes(images), 7)
        views = [view for group in backend(images, plan) for view in group]
        std = np.array(plan.std)[:, None, None]
        errors += [
            255 * np.abs((views[v][b].numpy() - render(images[b].numpy(), plan, b, v)) * std).mean()
            for b in range(3)
            for v in range(plan.num_views)
        ]
    mean = float(np.mean(errors))
    if not mean <= GATE_MEAN_LEVELS[name]:
        raise DataError(f"{name} is {mean:.3g} levels from the reference, too far to be timed")
    return mean


def _own_cases(others: Sequence[str], stock: Stock, num_threads: int) -> list[Case]:
    cases = []
    decoder = create_decoder("auto", torch.device("cpu"), num_threads)
    for name in ("fused", *others):
        backend = create_backend(name, "cpu", num_threads=num_threads)
        for key, policy in _policies().items():
            images = stock.tiny if key == "tiny" else stock.images
            cases.append(_case(f"{key}, {name}", backend, policy, len(images), lambda i=images: i))
            if key != "tiny":
                cases.append(
                    _case(
                        f"{key}, {name} with decode",
                        backend,
                        policy,
                        len(images),
                        lambda: decoder(stock.encoded),
                    )
                )
    return cases


def _case(name: str, backend: Backend, policy: Policy, count: int, images: Callable) -> Case:
    """Drawing the plan is timed too."""
    epochs = iter(range(1 << 30))

    def call() -> None:
        batch = images()
        plan = draw_plan(policy, np.arange(count), np.full(count, next(epochs)), _sizes(batch), 0)
        backend(batch, plan)

    return Case(name, count, policy.num_views, lambda: Run(call))


def _peer_cases(worker: _Peers | None, num_threads: int) -> list[Case]:
    if worker is None:
        return []
    names = ["swav, lightly", "swav, torchvision v2", "byol, lightly", "tiny, torchvision v2"]
    names += ["swav, lightly with decode", "byol, lightly with decode"]
    cases = []
    for name in names:
        answer = worker.make_views(name, num_threads)
        views = {"swav": 8, "byol": 2, "tiny": 2}[name.split(",")[0]]
        if answer["views"] != views:
            raise DataError(f"{name} makes {views} views of an image, got {answer['views']}")
        start = lambda name=name: Run(lambda: worker.make_views(name, num_threads))  # noqa: E731
        cases.append(Case(name, int(answer["num_images"]), views, start))
    return cases


def _compare(results: Sequence[Result]) -> dict[str, dict[str, object]]:
    """Each case's rate, and how many times as fast the fused backend was in the same round."""
    rates = {result.name: result.images_per_s for result in results}
    rows = {}
    for result in results:
        key = result.name.split(",")[0]
        ours = f"{key}, fused with decode" if result.name.endswith("decode") else f"{key}, fused"
        ratios = [a / b for a, b in zip(rates[ours], result.images_per_s, strict=True)]
        rows[result.name] = result.as_json() | {
            "fused_is_times_as_fast": round(statistics.median(ratios), 2),
            "lowest": round(min(ratios), 2),
            "highest": round(max(ratios), 2),
            "target": TARGETS.get(result.name),
        }
    return rows


def _print(report: dict) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    for num_threads, rows in report["threads"].items():
        table = Table("case", "img/s", "fused is x times", "lowest", "highest", "target")
        table.title = f"{num_threads} thread(s)"
        for name, row in rows.items():
            ratios = (f"{row[k]:.2f}" for k in ("fused_is_times_as_fast", "lowest", "highest"))
            table.add_row(name, f"{row['images_per_s']:.1f}", *ratios, str(row["target"] or ""))
        console.print(table)
    if report["peers"] is None:
        console.print("peers left out: pass --peers-python")


def _sizes(images: Sequence[torch.Tensor]) -> np.ndarray:
    return np.array([image.shape[:2] for image in images], np.int32)


if __name__ == "__main__":
    sys.exit(main())
