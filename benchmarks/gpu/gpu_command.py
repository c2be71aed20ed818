"""Runs one command of the project for gpu_steps.py, within a time, and says how it ended.

A command is a process of its own, so that one that crashes leaves the others a sound GPU. One that
takes too long is ended with all the processes it has begun; what it had printed is kept.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NUM_TAIL_LINES = 200
MAX_NAMED = 40  # tests that failed
MAX_JOBS = 8  # of tests at a time: each has a CUDA context of its own
KINDS = ("passed", "failed", "error", "skipped")


class StepError(Exception):
    """A step that failed: one line, the end of what its command printed, what was found by then."""

    def __init__(self, reason: str, output: str = "", **figures: Any) -> None:
        super().__init__(reason)
        self.tail = output.splitlines()[-NUM_TAIL_LINES:]
        self.figures = figures


class OvertimeError(StepError):
    """A command that took too long."""

    def __init__(self, reason: str, output: str) -> None:
        super().__init__(reason, output)
        self.output = output


def succeed(limit_s: float, module: str, *arguments: object) -> None:
    """Run a command; StepError with its own error line when it fails."""
    done = run(limit_s, module, *arguments)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # Libraries may still say something while they go.
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1])
        raise StepError(f"{reason}; {_ending(done)}", done.stdout + done.stderr)


def pass_tests(limit_s: float, mark: str, chosen: str, *tests: str) -> dict[str, int]:
    """Run tests, several at a time; how many passed, failed or were skipped.

    Neither a warning of a library that is newer than ours nor another package's plugin decides here
    whether a kernel is right.
    """
    arguments = [*tests, "-v", "--tb=short", "-p", "no:cacheprovider", "-W", "default", "-m", mark]
    jobs = min(MAX_JOBS, (os.cpu_count() or 1) // 2)
    if jobs > 1 and importlib.util.find_spec("xdist") is not None:
        arguments += ["-p", "xdist.plugin", "-n", str(jobs), "--dist", "worksteal"]
    try:
        done = run(limit_s, "pytest", *arguments, *(["-k", chosen] if chosen else []))
    except OvertimeError as error:
        said = re.findall(r"\b(PASSED|FAILED|ERROR|SKIPPED)\b", error.output)
        counts = {kind: said.count(kind.upper()) for kind in KINDS}
        raise StepError(str(error), error.output, **counts, named=_named(error.output)) from error
    last = done.stdout.rstrip().rpartition("\n")[2]
    found = {kind.rstrip("s"): int(number) for number, kind in re.findall(r"(\d+) ([a-z]+)", last)}
    counts = {kind: found.get(kind, 0) for kind in KINDS}
    if done.returncode or not counts["passed"]:
        summary = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        reason = f"tests pass and at least one runs, got {summary}; {_ending(done)}"
        raise StepError(reason, done.stdout + done.stderr, **counts, named=_named(done.stdout))
    return counts


def _named(output: str) -> list[str]:
    """The tests that failed, each once: with its error where pytest came to sum up."""
    lines = [line for line in output.splitlines() if re.search(r"\b(FAILED|ERROR)\b", line)]
    summary = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return (summary or lines)[:MAX_NAMED]


def run(limit_s: float, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module or a script of the project; OvertimeError when it takes longer."""
    what = [str(ROOT / module)] if module.endswith(".py") else ["-m", module]
    command = [sys.executable, *what, *map(str, arguments)]
    # Files, not pipes: a grandchild that lives on would keep a pipe open, and us waiting.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(), stdout=out, stderr=err, start_new_session=True
        )
        try:
            code = process.wait(limit_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = None
        out.seek(0)
        err.seek(0)
        stdout, stderr = (file.read().decode(errors="replace") for file in (out, err))
    if code is None:
        reason = f"{module} takes at most {limit_s:.0f} s, got more; it was ended"
        raise OvertimeError(reason, stdout + stderr)
    return subprocess.CompletedProcess(command, code, stdout, stderr)


def _environment() -> dict[str, str]:
    """Ours, with the project to be found, output not held back, and pytest as it comes."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    # Wide enough for a failed test's error to stand behind its name.
    return os.environ | own | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "250"}


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    code = done.returncode
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
