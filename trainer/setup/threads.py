"""The CPU threads of torch: the environment says how many, and how they wait.

OpenMP reads it once, when torch is loaded, so a command calls `set_threads` before that. Threads
that spin while they wait for each other take the cores from whoever has work: beside other load
steps were 5 to 10 times slower than with OMP_WAIT_POLICY=PASSIVE, which is as fast on an idle
machine. What the user has set stays.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

# Any of them says how threads wait: the standard's, of gcc's library, of LLVM's and Intel's.
WAIT_NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
COUNT_NAMES = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS")


def set_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads sleep while they wait, and share the cores among the processes of a machine."""
    if not any(name in environment for name in WAIT_NAMES):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    ranks = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if _is_counted(environment, ranks):
        return
    cores = available_cores()
    # Where it is what OpenMP takes by itself, it is left to it: it may know more of the machine.
    if ranks > 1 or cores < _cores_of_process():
        environment["OMP_NUM_THREADS"] = str(max(1, cores // ranks))


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: of its affinity, within its container's quota."""
    cores = _cores_of_process()
    quota = _quota_of_container(root)
    return cores if quota is None else max(1, min(cores, round(quota)))


def _is_counted(environment: Mapping[str, str], ranks: int) -> bool:
    """Whether the user has said how many threads."""
    given = [name for name in COUNT_NAMES if name in environment]
    if given != ["OMP_NUM_THREADS"] or ranks == 1 or environment["OMP_NUM_THREADS"] != "1":
        return bool(given)
    # torchrun gives every rank one thread, however many cores there are, unless it was told: it
    # was when the variable is among those that it was itself started with.
    return "OMP_NUM_THREADS" in (_environment_of(os.getppid()) or given)


def _environment_of(process: int) -> set[str] | None:
    """Names of the variables that a process was started with; None where nobody may know."""
    try:
        text = Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return None
    return {item.partition(b"=")[0].decode(errors="replace") for item in text.split(b"\0")}


def _cores_of_process() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota_of_container(root: Path) -> float | None:
    """Cores that control groups, version 2 or 1, let the processes take; None without a limit."""
    group = root / "sys/fs/cgroup"
    try:
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        try:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((group / "cpu" / n).read_text(encoding="utf-8") for n in names)
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return share if share > 0 else None  # version 1 says -1
