"""`trainer.run` on forked ranks, one command after the other.

A script of its own, since it forks: warm_python() tests/trainer/ranks.py < commands.json, a list of
{"argv": [...], "world": 2, "late_s": 0, "interrupt": 0, "dies": 0}, where every rank
but the first is late, the first gets SIGUSR1 when it makes features for the n-th time, and the last
SIGKILL. Prints a list of
{"codes": [...], "seconds": [...], "log": "..."}: exit codes and ends by rank, and what was written.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch

from trainer.eval import online
from trainer.run import main

MAX_SECONDS = 120  # of one command


def start(
    argv: list[str], world: int, late_s: float = 0.0, interrupt: int = 0, dies: int = 0
) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        begin = time.monotonic()

        def body(rank: int) -> int:
            if rank == 0:
                _send(signal.SIGUSR1, interrupt)
            if rank == world - 1:
                _send(signal.SIGKILL, dies)
            time.sleep(late_s * (rank > 0))
            return main(argv)

        ranks = {_fork(body, rank, world, port, log.fileno()): rank for rank in range(world)}
        codes, seconds = [0] * world, [0.0] * world
        while ranks:
            child, status = os.wait()
            rank = ranks.pop(child)
            codes[rank] = os.waitstatus_to_exitcode(status)
            seconds[rank] = time.monotonic() - begin
        log.seek(0)
        return {"codes": codes, "seconds": seconds, "log": log.read().decode()}


def _send(what: signal.Signals, number: int) -> None:
    extract, calls = online.extract, iter(range(1, 1000))

    def extract_and_kill(*args: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), what)
        return extract(*args)

    online.extract = extract_and_kill


def _fork(body: Callable[[int], int], rank: int, world: int, port: int, log: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 70  # of a traceback
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.alarm(MAX_SECONDS)
        if world > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ["LOCAL_WORLD_SIZE"] = str(world)
        torch.set_num_threads(1)
        code = body(rank)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([start(**command) for command in json.load(sys.stdin)]))
