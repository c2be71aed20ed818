"""How fast is the fused backend on the CPU, against our other backends and the peers' transforms?

    python benchmarks/fused_cpu.py --peers-python PEERS/bin/python --out fused_cpu.json

Photographs, cut to 500x375 JPEGs; views of SwAV 2+6 (224 + 96 px) and BYOL 2 (224 px), and 2
views of 32 px. First every backend of ours is held against the slow reference. Then all cases take
turns in rounds, so that other load touches them alike; what counts is the ratio inside a round: the
median over rounds, with the lowest and highest. Beside it stands the CPU time of an image, least
in a round, the median of those; on a machine that others use, the steadier figure. Peers run in
their own environment (peer_worker.py, which needs lightly and torchvision); without one they are
left out, and it says so.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from peers import Peers
from photographs import Stock
from rich.console import Console
from rich.table import Table

from augengine.backends.protocol import Backend
from augengine.backends.table import create_backend
from augengine.decoders.table import create_decoder
from augengine.draw import draw_plan
from augengine.policies import load_policy, override_policy
from augengine.policy import Policy
from augengine.reference import render
from shards.errors import DataError, run_command
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
        stock = Stock(Path(folder))
        errors = {name: _check(name, stock) for name in ("fused", *others)}
        report |= {"mean_error_levels": errors, "peers": None, "threads": by_threads}
        worker = Peers(options.peers_python, Path(folder)) if options.peers_python else None
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

    cpu: list[float] = []

    def call() -> None:
        start = time.process_time()
        batch = images()
        plan = draw_plan(policy, np.arange(count), np.full(count, next(epochs)), _sizes(batch), 0)
        backend(batch, plan)
        cpu.append((time.process_time() - start) / count)

    return Case(name, count, policy.num_views, lambda: Run(call, lambda: _least(cpu)))


def _least(cpu_seconds: list[float]) -> dict[str, float]:
    """The least CPU time of an image over the calls of a round: what load disturbs least."""
    least = min(cpu_seconds)
    cpu_seconds.clear()
    return {"cpu": 1e3 * least}


def _peer_cases(worker: Peers | None, num_threads: int) -> list[Case]:
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
        cases.append(_peer_case(worker, name, num_threads, int(answer["num_images"]), views))
    return cases


def _peer_case(worker: Peers, name: str, num_threads: int, count: int, views: int) -> Case:
    cpu: list[float] = []

    def call() -> None:
        cpu.append(worker.make_views(name, num_threads)["cpu_seconds"] / count)

    return Case(name, count, views, lambda: Run(call, lambda: _least(cpu)))


def _compare(results: Sequence[Result]) -> dict[str, dict[str, object]]:
    """Each case's rate, and how many times as fast the fused backend was in the same round."""
    rates = {result.name: result.images_per_s for result in results}
    cpu = {result.name: result.stages_ms["cpu"] for result in results}
    rows = {}
    for result in results:
        key = result.name.split(",")[0]
        ours = f"{key}, fused with decode" if result.name.endswith("decode") else f"{key}, fused"
        ratios = [a / b for a, b in zip(rates[ours], result.images_per_s, strict=True)]
        rows[result.name] = result.as_json() | {
            "fused_is_times_as_fast": round(statistics.median(ratios), 2),
            "cpu_ms": result.stages_ms["cpu"],
            "cpu_ratio": round(result.stages_ms["cpu"] / cpu[ours], 2),
            "lowest": round(min(ratios), 2),
            "highest": round(max(ratios), 2),
            "target": TARGETS.get(result.name),
        }
    return rows


def _print(report: dict) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    for num_threads, rows in report["threads"].items():
        table = Table(
            "case",
            "img/s",
            "fused is x times",
            "lowest",
            "highest",
            "cpu ms/img",
            "cpu x",
            "target",
        )
        table.title = f"{num_threads} thread(s)"
        for name, row in rows.items():
            ratios = (f"{row[k]:.2f}" for k in ("fused_is_times_as_fast", "lowest", "highest"))
            table.add_row(
                name,
                f"{row['images_per_s']:.1f}",
                *ratios,
                f"{row['cpu_ms']:.2f}",
                f"{row['cpu_ratio']:.1f}",
                str(row["target"] or ""),
            )
        console.print(table)
    if report["peers"] is None:
        console.print("peers left out: pass --peers-python")


def _sizes(images: Sequence[torch.Tensor]) -> np.ndarray:
    return np.array([image.shape[:2] for image in images], np.int32)


if __name__ == "__main__":
    sys.exit(main())
