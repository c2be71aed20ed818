"""The near side of peer_worker.py: starts it in the peers' environment and asks it for views."""

import json
import subprocess
from pathlib import Path

from shards.errors import DataError, UsageError


class Peers:
    """The worker process; UsageError when its Python does not run, DataError when it ends early."""

    def __init__(self, python: str, folder: Path) -> None:
        worker = Path(__file__).with_name("peer_worker.py")
        try:
            self._process = subprocess.Popen(
                [python, str(worker), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise UsageError(
                f"--peers-python is a Python that runs, got {python}: {error}"
            ) from error
        self.versions = self._read()

    def make_views(self, case: str, num_threads: int) -> dict[str, float]:
        """Have the peer make the views of a case's whole stock once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"case": case, "num_threads": num_threads}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _read(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DataError("the peers' worker ended early; its own message is above")
        return json.loads(line)
