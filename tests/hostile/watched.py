"""Reads files of a kind as Hypothesis makes them, and sees to it that nothing happens but reading.

What a file must never cause (running a program, opening a socket, unpickling, files outside the
case's folder) is seen by Python's audit hook; CPU time is limited by a signal that kills what is
stuck even in a library. Hypothesis makes a case that fails as small as it can.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hostile.file_kinds import KINDS, OWN_ERRORS

_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_FORBIDDEN += ("socket.connect", "socket.bind", "pickle.find_class")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class ForbiddenError(BaseException):
    """A file made its reader do what it must not; no `except Exception` of a reader hides it."""


class Watch:
    """Sees what is done while a case is read; a hook cannot be taken away, so it is made once."""

    def __init__(self) -> None:
        self._folder = ""
        self._seen = ""
        roots = (sys.prefix, sys.base_prefix, Path(__file__).parents[2], tempfile.gettempdir())
        self._readable = tuple(map(str, (*roots, "/proc", "/dev/null", "/sys", "/usr")))
        sys.addaudithook(self._hook)

    def read(self, read: Callable[[bytes, Path], str], data: bytes, folder: Path) -> str:
        """The result; ForbiddenError when something else than the folder was touched."""
        self._folder, self._seen = str(folder), ""
        try:
            return read(data, folder)
        finally:
            self._folder = ""
            if self._seen:
                raise ForbiddenError(self._seen)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folder or self._seen:
            return
        if event in _FORBIDDEN:
            self._seen = f"{event} {arguments!r:.200}"
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            allowed = (self._folder, "/dev/null")
            if not path.startswith(allowed if arguments[2] & _WRITES else allowed + self._readable):
                self._seen = f"opened {path!r:.200}"


@dataclass(slots=True)
class Tally:
    """Counts over the files of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    damages: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0  # CPU time


def explore(
    kind: str,
    count: int,
    seed: int,
    watch: Watch | None = None,
    *,
    keep: Path | None = None,  # holds the file that is being read: a death leaves it
    max_seconds: float,  # of CPU time a file, which other load on the machine hardly moves
) -> Tally:
    """Read `count` files; the first foreign exception comes out, of its smallest case."""
    tally = Tally()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(KINDS[kind].files())
    def reads(case: tuple[str, bytes]) -> None:
        damage, data = case
        if keep is not None:
            keep.write_bytes(data)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, max_seconds)
        try:
            outcome = attempt(kind, data, watch)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        tally.slowest_s = max(tally.slowest_s, time.process_time() - start)
        tally.outcomes[outcome] += 1
        tally.damages[damage] += 1

    reads()
    return tally


def attempt(kind: str, data: bytes, watch: Watch | None = None) -> str:
    """The value that a reader returned, or the name of the error of ours that it raised."""
    with tempfile.TemporaryDirectory(prefix="case-") as name:
        read = KINDS[kind].read
        try:
            return watch.read(read, data, Path(name)) if watch else read(data, Path(name))
        except OWN_ERRORS as error:
            return type(error).__name__


def main(kind: str, count: str, seed: str, keep: str, max_bytes: str, max_s: str) -> None:
    """A part of benchmarks/soak/fuzz.py, in a process that may crash, hang or eat memory."""
    warnings.simplefilter("ignore")
    tempfile.tempdir = str(Path(keep).parent)
    os.environ["AUGENGINE_CACHE"] = tempfile.tempdir
    # Whatever is loaded, compiled and made once.
    explore(kind, 20, 0, max_seconds=600)
    watch, before = Watch(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(max_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    tally = explore(kind, int(count), int(seed), watch, keep=Path(keep), max_seconds=float(max_s))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found = {"outcomes": tally.outcomes, "damages": tally.damages, "slowest_s": tally.slowest_s}
    sys.stdout.write(json.dumps({**found, "grown_mib": round(grown / 1024, 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
