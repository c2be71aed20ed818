"""Asks the server of warm_python.py for a fork, and is to whoever started it what the fork is.

    python -I -S warm_client.py SOCKET -m trainer.run ...

It hands over its standard streams, folder and environment, passes signals on, and ends as the fork
ends. It imports little, for it starts with every command.
"""

import json
import os
import select
import signal
import socket
import struct
import sys

# Read while libraries are imported, or by Python itself: another value than the server's needs a
# cold start.
IMPORT_TIME = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "NUMBA_", "TRITON_", "TORCH_LOGS")
IMPORT_TIME += ("TORCHDYNAMO_", "TORCHINDUCTOR_", "LD_", "PYTHON")
NOT_THEN = ("PYTHONPATH", "PYTHON_EXEC")  # a fork looks where the one says, the other is torchrun's
# Set by scikit-learn and torch's compiler in whoever imports them, as pytest's process does.
NOT_THEN += ("KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK", "TORCHINDUCTOR_CACHE_DIR")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def at_import(environment: dict[str, str]) -> dict[str, str]:
    """Those variables of an environment that only a cold start can obey."""
    given = {k: v for k, v in environment.items() if k.startswith(IMPORT_TIME)}
    return {k: v for k, v in given.items() if k not in NOT_THEN}


def main(address: str, words: list[str]) -> None:
    # None may come before the fork is there to have it: it waits until `follow` can pass it on.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    program = words[1:] if words[:1] == ["-u"] else words
    if not program or (program[0].startswith("-") and program[0] not in ("-m", "-c")):
        cold(words, blocked)
    ask = {"words": words, "cwd": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        text = json.dumps(ask).encode()
        socket.send_fds(server, [struct.pack("!I", len(text))], [0, 1, 2])
        server.sendall(text)
        pid = received(server)
        if not pid:
            cold(words, blocked)
        code = follow(server, pid, blocked)
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def cold(words: list[str], blocked: set[int]) -> None:
    """Become the Python that starts without help, with the signals blocked that were."""
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    os.execv(sys.executable, [sys.executable, *words])


def follow(server: socket.socket, pid: int, blocked: set[int]) -> int:
    """Pass signals on to the fork until it ends; how it ended.

    A signal wakes `select` by a byte of its own. A handler that waited for `recv` to be interrupted
    would miss what comes just before that call, and wait for ever.
    """
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    while True:
        ready, _, _ = select.select([server, woken], [], [])
        if server in ready:
            return received(server)
        for number in woken.recv(64):
            os.kill(pid, number)


def received(server: socket.socket) -> int:
    """The server's next number: the fork's pid, 0 for a cold start, and at its end how it ended."""
    data = server.recv(4, socket.MSG_WAITALL)
    if len(data) < 4:
        sys.exit("the server of warm_python.py has ended")
    return struct.unpack("!i", data)[0]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
