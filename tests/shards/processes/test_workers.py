"""Workers leave Ctrl-C to their parent, and a Ctrl-C while one is started is not lost."""

import os
import signal

import pytest

from shards.processes.workers import WorkerPool


def blocked() -> set[signal.Signals]:
    """What this process does not hear."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, set()))  # type: ignore[arg-type]


def test_a_worker_does_not_hear_ctrl_c() -> None:
    """From its first moment on: it is born so. Its parent hears it as before."""
    with WorkerPool(1) as pool:
        assert signal.SIGINT in pool.submit(blocked).result()
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker
        assert signal.SIGINT not in blocked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
