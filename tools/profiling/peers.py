"""Times other libraries' own transforms beside ours: the near side of peer_worker.py.

`Peers` starts the worker in the peers' environment and gives its cases the same life as any other
`measure.Case`: start, call, stop. The worker sees the same encoded images, a file each.
"""

import dataclasses
import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augengine.policy import Policy
from shards.errors import DataError, UsageError
from tools.profiling.measure import Case, Run

LIBRARIES = ("lightly", "torchvision v2")
PEER_KINDS = ("from pixels", "from bytes", "end to end")  # as augment_cases.py has them


@dataclass(frozen=True, slots=True)
class PeerCase:
    """One thing for a peer to do."""

    name: str
    library: str  # of LIBRARIES
    kind: str  # of PEER_KINDS
    policy: Policy  # lightly: its own transform of this name; torchvision: this very policy
    folder: Path  # of encoded images, nothing else
    batch_size: int
    processes: int


def peer_cases(
    policy: Policy,
    folder: Path,
    batch_size: int,
    processes: int,
    kinds: Sequence[str],
    libraries: Sequence[str] = LIBRARIES,
    prefix: str = "",
) -> list[PeerCase]:
    """The libraries' cases of these kinds, named as our backends' are."""
    return [
        PeerCase(f"{prefix}{kind}, {library}", library, kind, policy, folder, batch_size, processes)
        for kind in kinds
        for library in libraries
    ]


class Peers:
    """The worker, and the cases it can run; use it in a `with` block.

    `left_out` says why a case cannot run there: a library that is missing, or that makes other
    views. Raises UsageError when its Python does not run, DataError when it ends early.
    """

    def __init__(self, python: str, cases: Sequence[PeerCase], folder: Path) -> None:
        requests = folder / "cases.json"
        requests.write_text(json.dumps([_as_json(case) for case in cases]), encoding="utf-8")
        worker = Path(__file__).with_name("peer_worker.py")
        try:
            self._process = subprocess.Popen(
                [python, str(worker), str(requests)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise UsageError(
                f"--peers-python is a Python that runs, got {python}: {error}"
            ) from error
        self._cpu_seconds = math.nan
        try:
            hello = self._read()
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = hello["versions"]
        why = {case.name: _why_left_out(case, hello["cases"][case.name]) for case in cases}
        self.left_out = {name: reason for name, reason in why.items() if reason is not None}
        self.cases = [self._case(case) for case in cases if case.name not in self.left_out]

    def describe(self) -> dict[str, object]:
        """The facts for a report."""
        return {"versions": self.versions, "left_out": self.left_out}

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _case(self, case: PeerCase) -> Case:
        def start() -> Run:
            self._ask(do="start", case=case.name)
            return Run(lambda: self._ask(do="call"), self._stop, lambda: self._cpu_seconds)

        return Case(case.name, case.batch_size, case.policy.num_views, start)

    def _stop(self) -> dict[str, float]:
        self._ask(do="stop")
        return {}

    def _ask(self, **request: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        cpu_seconds = self._read()["cpu_seconds"]
        self._cpu_seconds = math.nan if cpu_seconds is None else cpu_seconds

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DataError("the peers' worker ended early; its own message is above")
        return json.loads(line)


def _as_json(case: PeerCase) -> dict[str, object]:
    return {**dataclasses.asdict(case), "folder": str(case.folder)}


def _why_left_out(case: PeerCase, found: dict[str, Any]) -> str | None:
    """A peer that makes other views than we do would be compared with what it does not do."""
    asked = [size_px for _, size_px, _ in case.policy.flat_views]
    if "left_out" in found:
        return found["left_out"]
    if found["sizes_px"] != asked:
        return f"{case.library} makes views of {found['sizes_px']} px of it, not of {asked} px"
    return None
