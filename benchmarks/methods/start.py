"""What a start costs: a run up to its first step, and the commands that only say something.

    git worktree add --detach BEFORE COMMIT
    python -m benchmarks.methods.start --before BEFORE [--rounds 7] [--cases NAME ...] [--out FILE]

Every case is started in turn in the tree BEFORE and in this one, in each round. A run is stopped
when its first batch is there and its first forward would begin; the first kNN, which comes before
that where evaluation data are given, is taken off and told apart. Figures are medians over rounds:
user and system seconds of the process, and its seconds by the clock, which mean little on a machine
that does other things too. Compiled kernels are there already: each case is started once untimed.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from trainer.record.conditions import conditions

ROOT = Path(__file__).parents[2]
DEFAULT_OUT = Path(__file__).parents[1] / "results" / "start.json"
SAYING = {
    "trainer.run --help": "-m trainer.run --help",
    "trainer.run --list": "-m trainer.run --list",
    "trainer.run --print-config": "-m trainer.run --print-config",
    "trainer.evaluate --help": "-m trainer.evaluate --help",
    "show_views.py --help": "tools/show_views.py --help",
}
FEW = "eval.max_train_images=256 eval.max_test_images=64"
RUNS = {
    "demo, swav": f"--epochs 0.1 {FEW}",
    "demo, mocov2": f"--method mocov2 --epochs 0.1 {FEW}",
    "shards, swav": "--data {shards} --config swav_demo eval.data=null --epochs 0.1",
    "shards, dino": "--data {shards} --config dino_demo eval.data=null --epochs 0.1",
}
Figures = dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """Measure and write the figures; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="start.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--before", type=Path, metavar="DIR", help="the tree to compare with")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--cases", nargs="+", choices=(*SAYING, *RUNS), default=(*SAYING, *RUNS), metavar="NAME"
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    parser.add_argument("--until-first-step", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.until_first_step is not None:
        return _until_first_step(options.until_first_step)
    return run_command(lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> int:
    if options.before is None or not (options.before / "trainer").is_dir():
        raise UsageError(
            f"--before is a tree of this project, got {options.before}; git worktree add makes one"
        )
    trees = {"before": options.before.resolve(), "after": ROOT}
    about = conditions() | {"commit_before": _commit(trees["before"])}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "shards"
        _python(ROOT, "tools/make_shards.py", "demo", str(shards))
        cases = {name: text.split() for name, text in SAYING.items()}
        for name, text in RUNS.items():
            own = [str(Path(__file__).resolve()), "--until-first-step"]
            cases[name] = [*own, *text.format(shards=shards).split(), "--device", "cpu"]
        cases = {name: cases[name] for name in options.cases}
        rounds: dict[str, dict[str, list[Figures]]] = {
            name: {tree: [] for tree in trees} for name in cases
        }
        for number in range(1 + options.rounds):
            for name, arguments in cases.items():
                print(f"round {number} of {options.rounds}: {name}", file=sys.stderr)
                for tree, path in trees.items():
                    figures = _time(path, arguments, Path(folder) / "run", is_run=name in RUNS)
                    if number:
                        rounds[name][tree].append(figures)
            if number:  # each round is kept as soon as it is there
                results = {name: _summary(each) for name, each in rounds.items()}
                document = {"conditions": {**about, "rounds": number}, "cases": results}
                write_whole(options.out, json.dumps(document, indent=2) + "\n")
    print(_table(results))
    return 0


def _commit(tree: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=tree, capture_output=True, text=True
    )
    return done.stdout.strip()


def _time(tree: Path, arguments: list[str], out: Path, *, is_run: bool) -> Figures:
    """One start: what a run says of itself, or what the whole process took."""
    if is_run:
        said = _python(tree, *arguments, "--out", str(out), "--overwrite")
        return json.loads(said.splitlines()[-1])
    used, began = _children_s(), time.perf_counter()
    _python(tree, *arguments, may_fail=True)
    return {"cpu_s": _children_s() - used, "wall_s": time.perf_counter() - began}


def _python(tree: Path, *arguments: str, may_fail: bool = False) -> str:
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"{arguments} in {tree}: {done.stderr}")
    return done.stdout


def _until_first_step(arguments: list[str]) -> int:
    """Run in this process, of whichever tree is on the path, and print what the start took."""
    began = time.time() - _age_s()
    # Here, and in the order of the command: all of it is what is timed.
    from trainer.command.begin import begin

    begin()
    import trainer.step as one_step
    from trainer import run
    from trainer.record import scores

    knn: Figures = {"cpu_s": 0.0, "wall_s": 0.0}
    make = scores.Scores.make

    def timed_make(self: scores.Scores, step: int) -> bool:
        used, then = _own_s(), time.time()
        made = make(self, step)
        knn["cpu_s"] += _own_s() - used
        knn["wall_s"] += time.time() - then
        return made

    def stop(*_: object) -> None:
        figures = {"cpu_s": _own_s() - knn["cpu_s"], "wall_s": time.time() - began - knn["wall_s"]}
        figures |= {f"knn_{name}": value for name, value in knn.items()}
        figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"\n{json.dumps(figures)}", flush=True)
        os._exit(0)

    scores.Scores.make = timed_make
    one_step._forward = stop  # pyright: ignore[reportAttributeAccessIssue]
    return run.main(arguments)


def _own_s() -> float:
    now = os.times()
    return now.user + now.system


def _children_s() -> float:
    now = os.times()
    return now.children_user + now.children_system


def _age_s() -> float:
    """Seconds since this process began."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _summary(rounds: dict[str, list[Figures]]) -> dict[str, Any]:
    """Medians of both trees, and of the ratios within a round their median, least and most."""
    summary: dict[str, Any] = {}
    for tree, figures in rounds.items():
        summary[tree] = {
            name: round(statistics.median(f[name] for f in figures), 3) for name in figures[0]
        }
    for name in ("cpu_s", "wall_s"):
        pairs = zip(rounds["after"], rounds["before"], strict=True)
        ratios = [after[name] / before[name] for after, before in pairs]
        summary[f"{name[:-2]}_ratio"] = {
            "median": round(statistics.median(ratios), 3),
            "min": round(min(ratios), 3),
            "max": round(max(ratios), 3),
        }
    return summary


def _table(results: dict[str, Any]) -> str:
    lines = ["| CPU seconds | before | after | ratio | the first kNN, apart | peak MiB |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for name, figures in results.items():
        before, after, ratio = figures["before"], figures["after"], figures["cpu_ratio"]
        knn = f"{before['knn_cpu_s']:.2f} / {after['knn_cpu_s']:.2f}" if "peak_mib" in after else ""
        peak = f"{before['peak_mib']:.0f} / {after['peak_mib']:.0f}" if "peak_mib" in after else ""
        lines.append(
            f"| {name} | {before['cpu_s']:.2f} | {after['cpu_s']:.2f} | {ratio['median']:.2f} "
            f"({ratio['min']:.2f} to {ratio['max']:.2f}) | {knn} | {peak} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
