"""Refusals under torchrun: one line, the first rank's; and a rank's own where it is alone."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shards.errors import DataError, UsageError
from tests.typed import TORCHRUN, typed
from tests.warm_python import environment
from trainer.command import on_ranks
from trainer.command.on_ranks import run_on_ranks


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("trainer.evaluate nowhere", "a run is a folder with config.yaml, got nowhere, which is"),
        ("trainer.run --batch-size many", "--batch-size"),
    ],
)
def test_two_ranks_refuse_in_one_line(command: str, said: str, tmp_path: Path) -> None:
    """A run that is not there, and a value that is none."""
    told = typed(f"torchrun --nproc-per-node 2 -m {command}", tmp_path, code=1)
    [line] = [line for line in told.splitlines() if line.startswith("error: ")]
    assert said in line
    assert not list(tmp_path.iterdir())


FAILS = """
import sys, time
from datetime import timedelta
import torch
import torch.distributed as dist
from shards.errors import DataError
from trainer.command.on_ranks import run_on_ranks

def main():
    dist.init_process_group("gloo", timeout=timedelta(hours=1))
    if dist.get_rank() == 0:
        time.sleep(3600)
    begun = dist.all_reduce(torch.ones(3), async_op=True)
    if sys.argv[1] == "expected":
        raise DataError("rank 1: a disk is whole, got a hole; mend it")
    raise KeyError("no such thing")

sys.exit(run_on_ranks(main))
"""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("expected", "error: rank 1: a disk is whole, got a hole; mend it"),
        ("defect", "KeyError: 'no such thing'"),
    ],
)
def test_a_rank_that_fails_amid_a_collective_ends(kind: str, said: str, tmp_path: Path) -> None:
    """At once, and torchrun ends the others: not after the hour that torch would wait for them."""
    (tmp_path / "fails.py").write_text(FAILS)
    words = [*TORCHRUN, "--nproc-per-node", "2", "fails.py", kind]
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment(), "timeout": 600}
    done = subprocess.run([sys.executable, *words], stderr=subprocess.PIPE, text=True, **options)
    assert done.returncode == 1
    assert any(line.endswith(said) for line in done.stderr.splitlines())


def refuse() -> int:
    raise UsageError("a rule, got a value; a remedy")


def test_the_others_end_silently_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By torchrun's SIGTERM, also where it comes late."""
    monkeypatch.setenv("RANK", "1")
    former = signal.getsignal(signal.SIGTERM)
    later = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    later.start()
    try:
        with pytest.raises(SystemExit) as ended:
            run_on_ranks(refuse)
    finally:
        later.join()
        signal.signal(signal.SIGTERM, former)
    assert ended.value.code == 2
    assert capsys.readouterr().err == ""


def test_trouble_of_one_rank_alone_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a while in which nobody ended it; at once, where it came up amid the work."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(on_ranks, "ALONE_AFTER_S", 0.05)
    former = signal.getsignal(signal.SIGTERM)
    try:
        assert run_on_ranks(refuse) == 2
    finally:
        signal.signal(signal.SIGTERM, former)
    assert capsys.readouterr().err == "error: a rule, got a value; a remedy\n"
    monkeypatch.setattr(on_ranks, "ALONE_AFTER_S", 1e9)

    def fail() -> int:
        raise DataError("rank 1: all ranks take part")

    assert run_on_ranks(fail) == 1
    assert "rank 1: all ranks" in capsys.readouterr().err
