"""A function on several ranks, forked from a warm Python: spawn without its cold starts.

    run_ranks_of(body, 2, str(tmp_path))    # body(0, path) and body(1, path), each in a process

`body` is a function of a module, which is imported once, before the fork; arguments are pickled.
"""

import importlib
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from warm_python import environment, warm_python

MAX_SECONDS = 300  # for all ranks together


def run_ranks_of(body: Callable[..., None], world: int, *arguments: Any) -> None:
    """Run every rank to its end; fails with what they wrote when one of them fails."""
    job = (body.__module__, body.__name__, world, arguments)
    done = subprocess.run(
        [warm_python(), str(Path(__file__))],
        input=pickle.dumps(sys.path) + pickle.dumps(job),
        capture_output=True,
        env=environment(),
        timeout=MAX_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def main() -> int:
    """Read the job, fork the ranks and wait; 1 when one of them fails."""
    sys.path[:] = pickle.load(sys.stdin.buffer)  # before what is found by it
    module, name, world, arguments = pickle.load(sys.stdin.buffer)
    body = getattr(importlib.import_module(module), name)
    children = [_fork(body, rank, arguments) for rank in range(world)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    return int(any(statuses))


def _fork(body: Callable[..., None], rank: int, arguments: tuple[Any, ...]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        body(rank, *arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
