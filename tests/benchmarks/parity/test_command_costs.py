"""What a command took, children included, and what it said when it failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.parity import command_costs
from benchmarks.parity.command_costs import memory_of_tree, run_watched
from shards.errors import DataError

CHILD = """
import subprocess, sys, time
work = "import time\\nx = bytearray(64 << 20)\\nend = time.process_time() + {seconds}\\n"
work += "while time.process_time() < end: pass\\ntime.sleep(1)"
subprocess.run([sys.executable, "-c", work], check=True)
"""


def test_children_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU seconds and memory are of the child too, which does all the work here."""
    monkeypatch.setattr(command_costs, "LOOK_S", 0.2)
    command = [sys.executable, "-c", CHILD.format(seconds=0.6)]
    taken = run_watched(command, tmp_path / "log", {})
    assert taken.cpu_s >= 0.6
    assert taken.peak_mib >= 64
    assert taken.wall_s >= 1.6


def test_the_environment_is_handed_on(tmp_path: Path) -> None:
    """What is given stands beside what is there already."""
    code = "import os; print(os.environ['MINE'], os.environ['PATH'])"
    run_watched([sys.executable, "-c", code], tmp_path / "log", {"MINE": "1"})
    assert (tmp_path / "log").read_text().strip() == f"1 {os.environ['PATH']}"


def test_a_failure_is_its_last_words(tmp_path: Path) -> None:
    """Not a number alone, and no traceback."""
    code = "import sys; print('first'); sys.exit('no such image')"
    with pytest.raises(DataError, match="ended with code 1: no such image"):
        run_watched([sys.executable, "-c", code], tmp_path / "log", {})


def test_a_process_that_ended_holds_nothing() -> None:
    """It may end between two looks."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory_of_tree(process.pid) == 0
    assert memory_of_tree(os.getpid()) > 1 << 20
