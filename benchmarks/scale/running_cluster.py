"""A Ray cluster of this machine that runs before anything is asked of it, and what it uses."""

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale.process_tally import Tally, marked
from shards.errors import DataError

_START_S = 120.0


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """One that answers."""

    address: str
    tally: Tally  # of its processes, since it began
    access: dict[str, str]  # environment of the commands that it takes work from


@contextmanager
def running_cluster(cores: int) -> Iterator[RunningCluster]:
    """A cluster as `ray start` makes it, which ends with the block."""
    mark = uuid.uuid4().hex
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    with tempfile.TemporaryDirectory(prefix="ray") as folder, Tally(mark) as tally:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        flags = {"num-cpus": cores, "port": 0, "include-dashboard": "false", "temp-dir": folder}
        command += [f"--{flag}={value}" for flag, value in flags.items()]
        env = marked(mark) | access | {"RAY_USAGE_STATS_ENABLED": "0"}
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet) as holder:
            try:
                address = _address(Path(folder, "ray_current_cluster"), holder)
                yield RunningCluster(address, tally, access)
            finally:
                holder.terminate()


def _address(file: Path, holder: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + _START_S
    while not file.is_file():
        if holder.poll() is not None or time.monotonic() > until:
            raise DataError(
                f"ray start --head gives a cluster within {_START_S:g} s, got none; try it by hand"
            )
        time.sleep(0.1)
    return file.read_text().strip()
