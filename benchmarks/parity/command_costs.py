"""A command run to its end, and what it took: wall and CPU seconds, and peak memory.

CPU seconds are of the process and of all its children that ended (os.wait4). Memory is the most
that the process and its children held together, each shared page counted once (Pss of Linux), by a
look every few seconds: the kernel adds up all pages, which is work.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.errors import DataError

_WAIT_S = 0.25  # between two questions whether it has ended
LOOK_S = 3.0  # between two looks at the memory


@dataclass(frozen=True, slots=True)
class Taken:
    """The costs of one command."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_watched(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Taken:
    """Run a command; DataError with its last words when it fails."""
    start, peak, looked = time.perf_counter(), 0, 0.0
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                if time.perf_counter() - looked > LOOK_S:
                    peak = max(peak, memory_of_tree(process.pid))
                    looked = time.perf_counter()
                time.sleep(_WAIT_S)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        words = said[-1] if said else "nothing was said"
        raise DataError(f"{' '.join(command[1:4])} ended with code {process.returncode}: {words}")
    return Taken(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, peak / 2**20)


def memory_of_tree(pid: int) -> int:
    """Bytes that a process and all its descendants hold now; 0 where there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        own = next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        texts = [(task / "children").read_text(encoding="ascii") for task in tasks]
    except OSError:  # it has ended
        return 0
    return own + sum(memory_of_tree(int(child)) for text in texts for child in text.split())
