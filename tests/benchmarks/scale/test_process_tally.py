"""What processes used is counted, also of those whose parent does not wait for them."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from benchmarks.scale.process_tally import Tally, marked
from benchmarks.scale.running_cluster import running_cluster

# Its user's and its system's seconds are each counted in whole ticks, and rounded down.
_BURN = "import time\nwhile time.process_time() < 0.65: pass\ntime.sleep(0.5)"
_SECONDS = 60


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + _SECONDS
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def test_orphans_are_counted() -> None:
    """A process whose parent ends first, in a session of its own, is one of them; a process without
    the mark, or with another, is not.
    """
    starts = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {_BURN!r}], start_new_session=True)"
    )
    with Tally("mine") as mine, Tally("other") as other:
        subprocess.run([sys.executable, "-c", starts], env=marked("mine"), check=True)
        assert eventually(lambda: mine.others().cpu_seconds >= 0.6)
    assert mine.workers().cpu_seconds == 0
    assert other.others().cpu_seconds == 0


def test_workers_are_told_apart() -> None:
    """Those of multiprocessing, by how they are started."""
    work = (
        "import time\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, get_context('spawn')) as pool:\n"
        f"        pool.submit(exec, {_BURN!r}).result()"
    )
    with Tally("work") as tally:
        with subprocess.Popen([sys.executable, "-c", work], env=marked("work")) as command:
            assert eventually(lambda: tally.workers().cpu_seconds >= 0.6)
        assert command.returncode == 0
    assert 0 < tally.of(command.pid).cpu_seconds < 0.6


@pytest.mark.long
def test_a_cluster_runs_for_a_block() -> None:
    """It answers at its address, its services are counted, and it is gone afterwards."""
    pytest.importorskip("ray")
    asks = [sys.executable, "-c", "import sys, ray; ray.init(sys.argv[1]); print(ray.nodes()[0])"]
    with running_cluster(1) as cluster:
        done = subprocess.run(
            [*asks, cluster.address],
            env=marked("asks") | cluster.access,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        assert "'CPU': 1.0" in done.stdout
        assert cluster.tally.others().cpu_seconds > 0.5
    done = subprocess.run(["pgrep", "-f", cluster.address], capture_output=True, check=False)
    assert done.returncode == 1
