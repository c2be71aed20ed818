"""A Python whose libraries are loaded already: a drop-in for `sys.executable` in tests.

    subprocess.run([warm_python(), "-m", "trainer.run", "--out", "run"], cwd=folder, ...)

A short command of ours is nine tenths imports: torch, DALI, numba, kornia. So each process of
pytest keeps one server that has them (warm_server.py), and the file that `warm_python` names is a
Python that asks it for a fork (warm_client.py). What is typed is a process of its own all the same:
its folder, environment, arguments, standard streams, signals, and how it ends.

It starts as `python` itself does, cold, where a warm one would not be the same: with flags of
Python's own, or where the environment differs in what libraries read while they are imported
(IMPORT_TIME of warm_client.py). `sys.executable` stays the real one: what a command starts by it is
cold.

Where the start is what a test is about (--help, what is imported, torchrun's restarts), the test
takes `sys.executable`. That both do the same is held by test_warm_python.py.
"""

import atexit
import functools
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from warm_client import at_import

TESTS = Path(__file__).parent
# As in any shell where tests run: ours first, one thread.
PATHS = (str(TESTS.parent), str(TESTS / "modules"))


# Libraries that a test imports set some of these for whoever comes later in this process.
AT_IMPORT = at_import(dict(os.environ))


def environment() -> dict[str, str]:
    """This process's environment, with our packages and one thread: what a warm start needs.

    What only a cold start can obey is as it was when this module was imported.
    """
    ours = {"PYTHONPATH": os.pathsep.join(PATHS), "OMP_NUM_THREADS": "1"}
    later = at_import(dict(os.environ))
    return {k: v for k, v in os.environ.items() if k not in later} | AT_IMPORT | ours


@functools.cache
def warm_python() -> str:
    """The path of the program; the server starts with the first call and ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = folder / "socket"
    # One that listens before there is a server: who comes early waits until it has imported.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(16)
        server = subprocess.Popen(
            [sys.executable, str(TESTS / "warm_server.py"), str(listener.fileno()), str(folder)],
            stdin=subprocess.PIPE,  # the server ends when this process does, however it ends
            pass_fds=[listener.fileno()],
            env=environment(),
            cwd=folder,
            start_new_session=True,  # Ctrl-C is the commands', by their clients
        )
    atexit.register(_close, server, os.getpid())
    program = folder / "python"
    words = [sys.executable, "-I", "-S", str(TESTS / "warm_client.py"), str(address)]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    return str(program)


def _close(server: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:
        server.communicate()
