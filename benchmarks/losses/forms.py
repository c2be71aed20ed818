"""Loss functions: eager, compiled, public forms and ours; milliseconds, peak memory, launches.

    python -m benchmarks.losses.forms [--device cuda] [--only swav,dino] [--seconds 20] [--out FILE]

Forward and backward of each loss at the sizes of loss_problems.py, inputs in bfloat16. Every form
is held to the eager one in float32 first; then the forms take turns, round by round. Peak memory
(peak_memory.py) is that of one forward and backward, the gradient included, the inputs not. A form
that cannot run or is wrong leaves its reason in its place, and so does a loss whose eager or fused
form does; the others are measured all the same, and the exit code is 1.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.losses.loss_launches import count_launches
from benchmarks.losses.loss_problems import PROBLEMS, Form, Inputs, Problem
from benchmarks.losses.peak_memory import peak_bytes
from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.terminal.commandline import CommandParser
from shards.terminal.console import table_console
from shards.terminal.output_file import check_output
from tools.profiling.measure import Case, Run, measure, times_as_fast
from trainer.checks import choose
from trainer.record.conditions import conditions

RESULTS = Path(__file__).parents[1] / "results"
DTYPE = torch.bfloat16
# Of the inputs' rounding nothing is left, since all forms get the same: only sums differ.
MAX_VALUE_ERROR = 1e-3
MAX_GRADIENT_ERROR = 2e-2


def main(argv: list[str] | None = None) -> int:
    """Check, measure, print and write the figures; returns the exit code."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def measure_problem(
    problem: Problem, device: torch.device, seconds: float, rounds: int
) -> dict[str, Any]:
    """Errors, peak memory, time and launches of every form of one problem."""
    inputs = problem.inputs(DTYPE, device)
    forms, failed = problem.forms(), {}
    errors: dict[str, dict[str, float]] = {}
    truth = None if problem.only_fused else _reference(problem, inputs)
    peaks: dict[str, int] = {}
    for name, form in list(forms.items()):
        try:
            found = _both(form, inputs)
            if truth is not None:
                errors[name] = _errors(found, truth)
                if name not in problem.others:
                    _check(problem.title, name, errors[name])
        except Exception as error:  # a form that does not run here is a result, too
            if name in ("eager", "fused"):
                raise
            failed[name] = _reason(error)
            del forms[name]
            continue
        del found
        peaks[name] = peak_bytes(lambda form=form: _both(form, inputs), device)
    results = _time(forms, inputs, device, seconds, 1 if problem.only_fused else rounds)
    launches = _launches(problem, inputs)
    rows = {
        name: {
            "ms": round(1e3 / result.median, 3),
            "ms_min": round(1e3 / max(result.images_per_s), 3),
            "ms_max": round(1e3 / min(result.images_per_s), 3),
            "peak_mb": round(peaks[name] / 1e6, 3),
            "launches": launches.get(name),
            "errors": errors.get(name),
        }
        for name, result in results.items()
    }
    fused = results["fused"]
    ratios = {name: times_as_fast(fused, r) for name, r in results.items() if name != "fused"}
    return {
        "title": problem.title,
        "wanted": {"most_memory": problem.most_memory, "least_speed": problem.least_speed},
        "forms": rows,
        "fused_is_times_as_fast": ratios,
        "failed": failed,
    }


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _both(form: Form, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient of the first input."""
    value = form(*inputs)
    (gradient,) = torch.autograd.grad(value, inputs[0])
    return value.detach(), gradient


def _reference(problem: Problem, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    exact = tuple(x.detach().float() for x in inputs)
    exact[0].requires_grad_()
    return _both(problem.forms()["eager"], exact)


def _errors(
    found: tuple[torch.Tensor, torch.Tensor], truth: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, float]:
    """Relative to the truth; of the gradient by length."""
    value, gradient = (
        ((x.float() - exact).norm() / exact.norm()).item()
        for x, exact in zip(found, truth, strict=True)
    )
    return {"value": value, "gradient": gradient}


def _check(title: str, name: str, errors: dict[str, float]) -> None:
    if not (errors["value"] <= MAX_VALUE_ERROR and errors["gradient"] <= MAX_GRADIENT_ERROR):
        raise DataError(
            f"a form must agree with the eager one in float32 to {MAX_VALUE_ERROR:g} (value) and "
            f"{MAX_GRADIENT_ERROR:g} (gradient), got {errors} for {name} of {title}; nothing is "
            "timed until it does"
        )


def _time(
    forms: dict[str, Form], inputs: Inputs, device: torch.device, seconds: float, rounds: int
) -> dict[str, Any]:
    def call(form: Form) -> Callable[[], object]:
        def run() -> None:
            _both(form, inputs)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    cases = [Case(name, 1, 0, lambda form=form: Run(call(form))) for name, form in forms.items()]
    return {r.name: r for r in measure(cases, seconds=seconds, num_rounds=rounds)}


def _launches(problem: Problem, inputs: Inputs) -> dict[str, int]:
    """Of the forms whose launches can be counted without a GPU."""
    forms = {k: v for k, v in problem.forms().items() if k in ("eager", "fused")}
    return {
        name: count_launches(lambda *given, form=form: _both(form, given), *inputs)
        for name, form in forms.items()
    }


def _benchmark(options: argparse.Namespace) -> int:
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda needs an NVIDIA GPU, got none; leave it out")
    chosen = options.only.split(",") if options.only else list(PROBLEMS)
    for name in chosen:
        choose("problem", name, PROBLEMS)
    out = options.out or RESULTS / f"losses_{_name_of(device)}.json"
    check_output("--out", out)
    console = table_console(130)
    report: dict[str, Any] = {
        "conditions": conditions() | {"device": _name_of(device)},
        "settings": {
            "dtype": "bfloat16",
            "threads": torch.get_num_threads(),
            "rounds": options.rounds,
            "seconds": options.seconds,
        },
        "problems": {},
        "failed": {},
    }
    if out.is_file() and options.only:
        report["problems"] = json.loads(out.read_text(encoding="utf-8"))["problems"]
    for name in chosen:
        torch.compiler.reset()
        report["problems"].pop(name, None)
        try:
            found = measure_problem(PROBLEMS[name], device, options.seconds, options.rounds)
        except Exception as error:
            report["failed"][name] = _reason(error)
            console.print(f"{name}: error: {report['failed'][name]}", style="red")
        else:
            report["problems"][name] = found
            console.print(_table(found))
        write_whole(out, json.dumps(report, indent=2) + "\n")
    if report["failed"]:
        raise DataError("; ".join(f"{name}: {why}" for name, why in report["failed"].items()))
    return 0


def _name_of(device: torch.device) -> str:
    """A file's name: cpu, or nvidia-h200 for NVIDIA H200."""
    if device.type == "cpu":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")


def _table(found: dict[str, Any]) -> Table:
    table = Table(title=found["title"])
    for column in ("form", "ms", "lowest", "highest", "peak MB", "launches", "ours is x as fast"):
        table.add_column(column, justify="left" if column == "form" else "right")
    for name, row in found["forms"].items():
        ratio = found["fused_is_times_as_fast"].get(name)
        table.add_row(
            name,
            *(f"{row[key]:,.2f}" for key in ("ms", "ms_min", "ms_max")),
            f"{row['peak_mb']:,.1f}",
            "" if row["launches"] is None else str(row["launches"]),
            "" if ratio is None else f"{ratio['median']:.2f}",
        )
    for name, reason in found["failed"].items():
        table.add_row(name, reason)
    return table


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.losses.forms", __doc__)
    add = parser.add_argument
    add("--device", default="cpu", choices=("cpu", "cuda"), help="default: %(default)s")
    add("--only", metavar="NAMES", help=f"of {', '.join(PROBLEMS)}; default: all")
    add("--seconds", type=float, default=10, help="of each form (default: %(default)s)")
    add("--rounds", type=int, default=5, help="in which forms take turns (default: %(default)s)")
    add("--out", type=Path, metavar="FILE", help="default: benchmarks/results/losses_DEVICE.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
