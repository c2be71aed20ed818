"""The same work on many shards: in processes where it pays, in this one where it does not.

Scanning and checking run through here, one shard a job.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import TypeVar

from shards.processes.cluster import Cluster
from shards.processes.workers import WorkerPool
from shards.terminal.console import new_bar, new_console

# Below this many bytes starting processes takes longer than the work.
_WORTH_PROCESSES_BYTES = 64 << 20

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    size_bytes: int,
    workers: int | None = None,
    cluster: Cluster | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (position of the job, its result) as jobs finish.

    An exception of a job ends the iteration and comes out of it; jobs that wait are cancelled.

    Args:
        work: a module's function, so that a fresh process finds it.
        jobs: what to call it with.
        size_bytes: how much there is to read in all, which decides whether processes pay.
        workers: processes at most; None takes one a core.
        cluster: does the work in place of this machine's processes.
    """
    if cluster is not None and size_bytes >= _WORTH_PROCESSES_BYTES:
        yield from cluster.run(work, jobs)
        return
    workers = min(workers or usable_cores(), len(jobs))
    if workers <= 1 or size_bytes < _WORTH_PROCESSES_BYTES:
        yield from ((position, work(job)) for position, job in enumerate(jobs))
        return
    with WorkerPool(workers) as pool:
        futures = {pool.submit(work, job): position for position, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def with_bar(
    results: Iterator[tuple[int, Result]], title: str, sizes_bytes: Sequence[int], *, show: bool
) -> Iterator[tuple[int, Result]]:
    """Pass on what `run_jobs` yields, moving a bar on stderr by each job's bytes.

    Args:
        results: positions and results.
        title: one word on what is going on.
        sizes_bytes: of every job.
        show: draw it, if stderr is a terminal.
    """
    if not (show and sys.stderr.isatty()):
        yield from results
        return
    with new_bar(new_console(sys.stderr)) as bar:
        task = bar.add_task(title, total=sum(sizes_bytes))
        for position, result in results:
            yield position, result
            bar.advance(task, sizes_bytes[position])


def usable_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
