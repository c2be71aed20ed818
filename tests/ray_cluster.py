"""A Ray cluster of several nodes on this machine, and commands that use it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300


@contextmanager
def nodes() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a cluster of three nodes, and the program that holds it (ray_nodes.py)."""
    program = [sys.executable, str(Path(__file__).with_name("ray_nodes.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(program, text=True, cwd=ROOT, **pipes) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            yield holder.stdout.readline().strip(), holder
        finally:
            holder.stdin.close()
            holder.wait(SECONDS)


def command(*arguments: object) -> list[str]:
    """`python -m tools...`, in a process of its own: the library changes the one it is in."""
    return [sys.executable, "-m", *map(str, arguments)]


def run(words: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """A command in a folder, to its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
