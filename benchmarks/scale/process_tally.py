"""What the processes of a command have used, by a look at /proc every tenth of a second.

Ray waits for its own processes in a way that tells their parent nothing, so `getrusage` misses
most of them. They are known by a mark in their environment, which every process inherits. What a
process does after the last look at it is missed: a twentieth of a second each, on average.
"""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.1
_MARK = "AUGENGINE_PACK"
# The endings of the words by which workers are started: multiprocessing's and Ray's.
_WORKER_WORDS = ("spawn_main", "default_worker.py")


@dataclass(frozen=True, slots=True)
class Used:
    """Of some processes, since they began."""

    cpu_seconds: float = 0.0
    written_bytes: int = 0  # to disks, as the system counts them

    def __add__(self, other: "Used") -> "Used":
        return Used(self.cpu_seconds + other.cpu_seconds, self.written_bytes + other.written_bytes)

    def __sub__(self, other: "Used") -> "Used":
        return Used(self.cpu_seconds - other.cpu_seconds, self.written_bytes - other.written_bytes)


def marked(mark: str) -> dict[str, str]:
    """The environment of a command whose processes are to be counted.

    It may keep bytecode, as an installed package has it: else every process compiles ours anew. And
    Ray's workers get the priority of all others: by default anything else on the machine comes
    first, and workers that wait make services look dear, which use some of every second.
    """
    environment = os.environ | {_MARK: mark, "RAY_worker_niceness": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


class Tally:
    """A thread that adds up what the processes with a mark have used, while its block runs."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{_MARK}={mark}".encode()
        self._used: dict[str, Used] = {}
        self._workers: set[str] = set()
        self._others: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> "Tally":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def workers(self) -> Used:
        """Of the processes that do the work, up to the last look at each."""
        return sum((self._used[pid] for pid in self._workers), Used())

    def others(self) -> Used:
        """Of the rest of them: the command itself, or what serves it."""
        return sum((used for pid, used in self._seen() if pid not in self._workers), Used())

    def of(self, pid: int) -> Used:
        """Of one process; nothing where it was never seen."""
        return self._used.get(str(pid), Used())

    def _seen(self) -> list[tuple[str, Used]]:
        return list(self._used.items())

    def _look_on(self) -> None:
        while not self._ended.wait(_LOOK_S):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if pid in self._others:
                    continue
                # It may end meanwhile.
                with contextlib.suppress(OSError, ValueError):
                    self._look_at(pid)

    def _look_at(self, pid: str) -> None:
        folder = Path("/proc", pid)
        if pid not in self._used and self._mark not in (folder / "environ").read_bytes():
            # A process that is being started has its parent's for a moment.
            if time.time() - folder.stat().st_ctime > 1:
                self._others.add(pid)
            return
        if pid not in self._workers and _is_worker(folder):
            self._workers.add(pid)
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        written = (folder / "io").read_text().partition("\nwrite_bytes: ")[2].split()[0]
        self._used[pid] = Used(ticks / os.sysconf("SC_CLK_TCK"), int(written))


def _is_worker(folder: Path) -> bool:
    """As its command line says, which a process of Ray's overwrites later."""
    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return any(word.endswith(_WORKER_WORDS) or "spawn_main(" in word for word in words)
