"""Jobs on a Ray cluster: on all its machines, and once more where one of them is lost.

    with open_cluster("ray") as cluster:            all cores of this machine
    with open_cluster("ray:10.0.0.1:6379") as cluster:    a cluster that is running

What is lost is not noticed by the caller, so a job must be one that may be done again: it finds
what its predecessor left, and ends with the same. Machines see the same folders under the same
names, and have the same release installed.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from shards.errors import DataError, UsageError

_AHEAD = 2  # jobs a core that are handed out before the first is done
_KNOCK_SECONDS = 10
_OBJECT_BYTES = 100 << 20  # of shared memory: jobs and their results are small

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster this process is connected to."""

    name: str  # as the user gave it
    cores: int  # of all its machines, when it was opened
    gpus: int
    ray: Any  # the library

    def run(
        self,
        work: Callable[[Job], Result],  # a module's function, so that any machine finds it
        jobs: Sequence[Job],
        *,
        gpus: int = 0,  # that a job has for itself
    ) -> Iterator[tuple[int, Result]]:
        """Yield (position of the job, its result) as jobs finish; a lost one is done again.

        An exception of a job ends the iteration and comes out of it; jobs that run are given up.

        Raises:
            DataError: a job died for another reason than its machine, or the cluster is gone.
        """
        ray = self.ray
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(work)
        waiting, running = iter(enumerate(jobs)), {}
        try:
            while True:
                room = self.cores * _AHEAD - len(running)
                for position, job in islice(waiting, max(0, room)):
                    running[remote.remote(job)] = position
                if not running:
                    return
                (done, *_), _ = ray.wait(list(running), num_returns=1)
                yield running.pop(done), ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # the job's own, without its traceback elsewhere
        except ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            raise DataError(
                f"a cluster must live until the work is done, got from {self.name}: {first}; "
                f"repeat the command, it continues"
            ) from None
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def check_executor(text: str) -> str:
    """`ray` or `ray:HOST:PORT`; raises UsageError."""
    if not re.fullmatch(r"ray(:[^:\s]+:\d{1,5})?", text):
        raise UsageError(
            f"--executor is ray, for the cores of this machine, or ray:HOST:PORT, for a cluster "
            f"that is running, got {text!r}; leave it out for processes"
        )
    return text


@contextmanager
def open_cluster(text: str, cores: int | None = None) -> Iterator[Cluster]:
    """Connect to a cluster, or start one of this machine's cores that ends with the block.

    Args:
        text: as `check_executor` takes it.
        cores: how many of them at most; None takes all.

    Raises:
        UsageError: it is not installed, or nothing answers at the address.
    """
    _, _, address = check_executor(text).partition(":")
    ray = _import_ray()
    if address:
        _knock(text, address)
    quiet = {"log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        if address:
            ray.init(address, **quiet)
        else:
            own = {"object_store_memory": _OBJECT_BYTES, "include_dashboard": False}
            ray.init("local", num_cpus=cores, **own, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_answer(text, error) from None
    try:
        resources = ray.cluster_resources()
        found = max(1, int(resources.get("CPU", 1)))
        yield Cluster(text, min(found, cores or found), int(resources.get("GPU", 0)), ray)
    finally:
        ray.shutdown()


@contextmanager
def maybe_cluster(text: str | None, cores: int | None = None) -> Iterator[Cluster | None]:
    """As `open_cluster`; None where no executor is named."""
    if text is None:
        yield None
        return
    with open_cluster(text, cores) as cluster:
        yield cluster


def _knock(text: str, address: str) -> None:
    """Refuse at once where nobody listens; the library would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(text, error) from None


def _no_answer(text: str, error: Exception) -> UsageError:
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return UsageError(
        f"--executor names a cluster that answers, got {text} ({why}); start one with ray start "
        f"--head, look at it with ray status, and set RAY_AUTH_MODE=token where it asks for a token"
    )


def _import_ray() -> Any:
    # Nothing is sent to its makers, and no advice about accelerators printed; before its import.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--executor ray needs Ray, which is not installed; pip install 'augengine[ray]'"
        ) from None
    return ray
