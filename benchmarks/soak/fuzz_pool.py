"""Runs one case after another in worker processes that may crash, hang or eat memory.

The contract. A worker does its cases in order and reports each. What it cannot report itself, its
death or its silence, is the outcome of the case it was at; another worker goes on behind that case.
In a worker the address space is limited, and what a file must never cause (running a program,
opening a socket, unpickling, files outside the case's folder) is noted through Python's audit hook.
"""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from benchmarks.soak.fuzz_kinds import KINDS, OWN_ERRORS

MAX_SECONDS = 10.0  # of CPU time a case, which other load on the machine hardly moves
_SILENCE_SECONDS = 120.0  # by the clock, after which a worker is given up
MAX_BYTES = 2 << 30  # of address space, beyond what a worker has when it is ready
_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_FORBIDDEN += ("socket.connect", "socket.bind", "pickle.find_class")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CASES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Result:
    """One case."""

    kind: str
    number: int
    damage: str
    outcome: str  # what a reader returned, or the name of one of our errors; else `problem`
    problem: str = ""  # why this must not be
    seconds: float = 0.0
    grown_bytes: int = 0  # resident, at the most, over what the worker had before


def run_cases(counts: dict[str, int], seed: int, workers: int) -> Iterator[Result]:
    """All cases, in no order; `counts` of each kind, numbered from 0."""
    chunks = [
        (kind, list(range(start, min(start + _CASES_AT_ONCE, count))))
        for kind, count in counts.items()
        for start in range(0, count, _CASES_AT_ONCE)
    ]
    pool = [_Worker(seed) for _ in range(workers)]
    try:
        while chunks or any(worker.todo for worker in pool):
            for worker in pool:
                if not worker.todo and chunks:
                    worker.begin(*chunks.pop())
            ready = wait_for([worker.pipe for worker in pool if worker.todo], timeout=1)
            for worker in pool:
                yield from worker.results(worker.pipe in ready)
    finally:
        for worker in pool:
            worker.stop()


def run_case(
    kind: str, number: int, seed: int, audit: "Audit | None" = None, *, reraise: bool = False
) -> Result:
    """One case in this process; `reraise` lets foreign exceptions out."""
    damage, data = KINDS[kind].make(random.Random(f"{seed}/{kind}/{number}"))
    before, start = _start_peak(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="case-") as name:
        folder = Path(name)
        if audit is not None:
            audit.watch(folder)
        try:
            outcome, problem = KINDS[kind].read(data, folder), ""
        except OWN_ERRORS as error:
            outcome, problem = type(error).__name__, ""
        except BaseException as error:
            if reraise:
                raise
            outcome, problem = "foreign", f"{type(error).__name__}: {str(error)[:300]}{_at(error)}"
        seconds = time.process_time() - start
        if audit is not None:
            problem = problem or audit.unwatch()
    if seconds > MAX_SECONDS:
        problem = problem or f"took {seconds:.1f} s"
    return Result(kind, number, damage, outcome, problem, seconds, _peak() - before)


class Audit:
    """Notes what a file must never cause; a hook cannot be taken away, so it is made once."""

    def __init__(self) -> None:
        self._folder = ""
        self._seen = ""
        roots = (
            sys.prefix,
            sys.base_prefix,
            Path(__file__).parents[2],
            "/proc",
            "/dev/null",
            "/sys",
        )
        self._readable = tuple(str(root) for root in (*roots, "/usr", tempfile.gettempdir()))
        sys.addaudithook(self._hook)

    def watch(self, folder: Path) -> None:
        """From now on only this folder may be written to."""
        self._folder, self._seen = str(folder), ""

    def unwatch(self) -> str:
        """What was seen first, if anything."""
        self._folder = ""
        return self._seen

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folder or self._seen:
            return
        if event in _FORBIDDEN:
            self._seen = f"{event} {arguments!r:.200}"
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, flags = os.path.abspath(os.fsdecode(arguments[0])), arguments[2]
            allowed = (self._folder, "/dev/null", "/proc/self/clear_refs")
            allowed = allowed if flags & _WRITES else (*allowed, *self._readable)
            if not path.startswith(allowed):
                self._seen = f"opened {path!r:.200}"


class _Worker:
    """One process and the cases it has still to do."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.todo: list[int] = []
        self._kind = ""
        self._start()

    def begin(self, kind: str, numbers: Sequence[int]) -> None:
        self._kind, self.todo = kind, list(numbers)
        self._heard = time.monotonic()
        self.pipe.send((kind, self.todo))

    def results(self, is_ready: bool) -> Iterator[Result]:
        if is_ready:
            try:
                result = self.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._process.join()
                yield from self._replace(_death(self._process.exitcode))
                return
            self._heard = time.monotonic()
            if result is not None:
                self.todo.remove(result.number)
                yield result
        elif self.todo and time.monotonic() - self._heard > _SILENCE_SECONDS:
            self._process.kill()
            yield from self._replace(f"silent for {_SILENCE_SECONDS:g} s")

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _replace(self, problem: str) -> Iterator[Result]:
        self.stop()
        yield Result(self._kind, self.todo[0], "", "lost", problem)
        rest = self.todo[1:]
        self._start()
        if rest:
            self.begin(self._kind, rest)
        else:
            self.todo = []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()
        self._heard = time.monotonic()


def _work(pipe: Connection, seed: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _hush()
    root = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    tempfile.tempdir = root
    os.environ["AUGENGINE_CACHE"] = root
    try:
        for kind in KINDS:  # whatever is loaded or made once
            run_case(kind, 0, seed)
        pipe.send(None)
        audit = Audit()
        _limit_address_space()
        while True:
            kind, numbers = pipe.recv()
            for number in numbers:
                pipe.send(run_case(kind, number, seed, audit))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _hush() -> None:
    """Our warnings are for people, DALI's and Pillow's too."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _limit_address_space() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _start_peak() -> int:
    """Forget the former peak of resident memory; bytes resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _at(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _death(code: int | None) -> str:
    return f"died of {signal.Signals(-code).name}" if code and code < 0 else f"exited with {code}"
