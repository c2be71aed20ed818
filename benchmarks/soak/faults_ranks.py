"""Ranks of a training run as forked processes, and the SIGKILLs that they get: when, where, whom.

For faults_kills.py. The ranks are forked from this process, which has imported everything, so a
start takes no seconds of imports.
"""

import importlib
import io
import math
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import trainer.checkpoint as checkpoint
from benchmarks.soak.faults_run import command
from shards.errors import DataError
from trainer.run import main as train

# What a run imports only when it begins.
for name in (
    "augengine.backends.kornia_ops",
    "augengine.decoders.pillow_decoder",
    "trainer.methods.swav",
):
    importlib.import_module(name)

PLACES = ("half written", "before the rename", "before last.pt")
MAX_SECONDS = 300.0  # of one start, on a machine that does much else


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: at a moment, or inside the n-th checkpoint write of the first rank."""

    place: str  # "at a moment", or of PLACES
    after_s: float = 0.0
    write: int = 0
    ranks: tuple[int, ...] = (0,)


def start_ranks(
    run: Path,
    shards: Path,
    *,
    world: int,
    kill: Kill | None = None,
    grace_s: float = math.inf,  # of the others after the first death, then they are killed too
    prepare: Callable[[int], None] = lambda rank: None,  # in the new process of a rank
    extra: Sequence[str] = (),  # arguments
) -> tuple[list[int], float]:
    """Exit codes by rank (128 + signal for a killed one), and how long the last outlived the first.

    Raises:
        DataError: a rank hangs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def body(rank: int) -> int:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["LOCAL_WORLD_SIZE"] = str(world)
        if rank == 0 and kill is not None and kill.place in PLACES:
            _die_in_write(kill)
        prepare(rank)
        return train([*command(run, shards), *extra])

    begin = time.monotonic()
    children = {_fork(f"{run}.log", body, rank): rank for rank in range(world)}
    try:
        return _wait(children, begin, kill, grace_s)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _wait(
    children: dict[int, int], begin: float, kill: Kill | None, grace_s: float
) -> tuple[list[int], float]:
    """Reap every child, kill those that `kill` names when it is time; `children` is emptied."""
    codes, first_death = [0] * len(children), math.inf
    pending = kill.ranks if kill is not None and kill.place == "at a moment" else ()
    while children:
        now = time.monotonic()
        if pending and kill is not None and now - begin >= kill.after_s:
            for child, rank in children.items():
                if rank in pending:
                    os.kill(child, signal.SIGKILL)
            pending = ()
        if any(codes) and now - first_death > grace_s:
            for child in children:
                os.kill(child, signal.SIGKILL)
        if now - begin > MAX_SECONDS:
            raise DataError(f"every rank ends within {MAX_SECONDS:g} s, got one that hangs: {kill}")
        for child in list(children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                codes[children.pop(child)] = code if code >= 0 else 128 - code
                first_death = min(first_death, time.monotonic())
        time.sleep(0.005)
    return codes, time.monotonic() - first_death


def _fork(log: str, body: Callable[[int], int], rank: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 70  # of a traceback
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        torch.set_num_threads(1)
        code = body(rank)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _die_in_write(kill: Kill) -> None:
    """Make this process kill itself at its kill.write-th checkpoint."""
    left = [kill.write]

    def dies(function: Callable[..., Any], prelude: Callable[..., None]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if "step-" in str(args):
                left[0] -= 1
                if left[0] == 0:
                    prelude(*args)
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    def write_half(state: object, file: Any) -> None:
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()

    save = torch.save
    if kill.place == "half written":
        torch.save = dies(save, write_half)
    elif kill.place == "before the rename":
        os.replace = dies(os.replace, lambda *args: None)
    else:
        checkpoint._link = dies(checkpoint._link, lambda *args: None)
