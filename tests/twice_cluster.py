"""A cluster that does every job twice: as where a machine seems lost, and goes on all the same."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class TwiceCluster:
    """Works in this process, on what would have been sent; the second result counts."""

    name, cores, gpus = "twice", 2, 0

    def run(
        self, work: Callable[[Any], Any], jobs: Sequence[Any], *, gpus: int = 0
    ) -> Iterator[tuple[int, Any]]:
        """As `Cluster.run`."""
        for position, job in enumerate(jobs):
            sent = pickle.dumps(job)
            _, result = work(pickle.loads(sent)), work(pickle.loads(sent))
            yield position, result
