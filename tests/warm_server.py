"""The process behind warm_python.py: it has imported what our commands import, and forks.

    python warm_server.py LISTENER FOLDER < pipe

LISTENER is the number of a listening socket. The server has one thread, and torch, OpenMP and
autograd have started none of theirs: a fork is a process as after its imports, with the compiled
kernels of the fused backend loaded too. The server ends with its standard input and removes FOLDER.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any

from warm_client import at_import

BASE = [path for path in sys.path[1:] if path not in os.environ["PYTHONPATH"].split(os.pathsep)]
PACKAGES = ("shards", "augengine", "trainer")
# The commands: `python -m` wants to be the first to import them.
COMMANDS = ("trainer.run", "trainer.evaluate", "trainer.export")
# What they import only when they need it, and what launches ranks.
LATER = ("nvidia.dali.fn", "scipy.linalg", "torch._dynamo", "torch.distributed.run")


@dataclass(slots=True)
class Fork:
    """A command that runs."""

    pid: int
    client: socket.socket


def main(listener: socket.socket, folder: str) -> None:
    """Serve until standard input ends; in a fork: return with the command to be run."""
    given = at_import(dict(os.environ))
    load()
    forks: list[Fork] = []
    while True:
        clients = [fork.client for fork in forks]
        ready, _, _ = select.select([listener, 0, *clients], [], [], 0.005 if forks else None)
        if 0 in ready:
            break
        for fork in list(forks):
            gone = fork.client in ready  # it says nothing: whoever waited has been killed
            if gone:
                os.kill(fork.pid, signal.SIGKILL)
            pid, status = os.waitpid(fork.pid, 0 if gone else os.WNOHANG)
            if pid:
                forks.remove(fork)
                with fork.client:
                    if not gone:
                        code = os.waitstatus_to_exitcode(status)
                        fork.client.sendall(struct.pack("!i", code))
        if listener in ready:
            client, _ = listener.accept()
            command, streams = received(client)
            if at_import(command["environment"]) != given:
                client.sendall(struct.pack("!i", 0))
                client.close()
            elif pid := os.fork():
                client.sendall(struct.pack("!i", pid))
                forks.append(Fork(pid, client))
            else:
                for other in (listener, client, *clients):
                    other.close()
                become(command, streams)
                return
            for stream in streams:
                os.close(stream)
    for fork in forks:
        os.kill(fork.pid, signal.SIGKILL)
    shutil.rmtree(folder)
    os._exit(0)


def load() -> None:
    """Import everything, first what a command does first."""
    from trainer.setup.threads import set_threads

    set_threads()
    for name in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if module.name not in COMMANDS and not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    for name in LATER:
        importlib.import_module(name)
    load_kernels()
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"imports start no threads, got {threads}"
    gc.collect()
    gc.freeze()


def load_kernels() -> None:
    """What `fused` compiles once on a machine and every process loads at its first view."""
    import numpy as np
    import torch

    from augengine.backends.fused import FusedBackend
    from augengine.draw import draw_plan
    from augengine.policies import load_policy

    image = torch.zeros(32, 32, 3, dtype=torch.uint8)
    zero, size = np.zeros(1, int), np.full((1, 2), 32)
    plan = draw_plan(load_policy("simsiam"), zero, zero, size, seed=0)
    FusedBackend()([image], plan)


def received(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A command and the standard streams of its client."""
    head, streams, _, _ = socket.recv_fds(client, 4, 3)
    (size,) = struct.unpack("!I", head)
    return json.loads(client.recv(size, socket.MSG_WAITALL)), streams


def become(command: dict[str, Any], streams: list[int]) -> None:
    """Take over streams, folder, environment and arguments."""
    import numpy as np

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["environment"])
    np.random.seed()  # noqa: NPY002 - numpy's own state is another in every process
    words = command["words"]
    if words[0] == "-u":
        del words[0]
        sys.stdout.reconfigure(write_through=True)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first = "" if words[0] in ("-m", "-c") else os.path.dirname(os.path.abspath(words[0]))
    if words[0] == "-m":
        first = os.getcwd()
    sys.path[:] = [first, *paths, *BASE]
    importlib.invalidate_caches()
    sys.argv[:] = ["-c", *words[2:]] if words[0] == "-c" else words[words[0] == "-m" :]
    sys.orig_argv[:] = [sys.executable, *words]


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    # A fork comes here. What goes wrong is met by Python itself, as in any program.
    if sys.orig_argv[1] == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif sys.orig_argv[1] == "-c":
        exec(sys.orig_argv[2], {"__name__": "__main__"})
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
