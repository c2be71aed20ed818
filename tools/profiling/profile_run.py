"""Runs a whole profile: the gate first, then all cases in turn, the peers' among them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from augengine.policy import Policy
from shards.index import ShardIndex
from tools.profiling.augment_cases import AUGMENT, DECODE, END_TO_END, KINDS, Settings, Workload
from tools.profiling.measure import Case, Result, measure
from tools.profiling.peers import PEER_KINDS, Peers, peer_cases

OnStep = Callable[[str, int], None]  # what comes next, and how many steps there are in all


@dataclass(frozen=True, slots=True)
class Profile:
    """The result of one run."""

    results: list[Result]
    errors: dict[str, dict[str, float]]  # of each backend against the reference
    peers: dict[str, object] | None  # their versions, and why some are left out; None: not asked
    workload: Workload


def profile(
    index: ShardIndex,
    policy: Policy,
    settings: Settings,
    *,
    peers_python: str | None = None,
    on_step: OnStep = lambda name, total: None,
) -> Profile:
    """Check, then time.

    Without peers the rows are decoding, each backend and the loader; with them also `from pixels`
    and `from bytes`, where theirs begin. Raises DataError when a backend is wrong or no image can
    be decoded, UsageError when the peers' Python does not run.
    """
    workload = Workload(index, policy, settings)
    num_checks, errors = len(settings.backends), {}
    for name in settings.backends:
        on_step(f"check {name}", num_checks)
        errors[name] = workload.check(name)

    def run(cases: list[Case]) -> list[Result]:
        num_steps = num_checks + settings.num_rounds * len(cases)
        return measure(
            cases,
            seconds=settings.seconds,
            num_rounds=settings.num_rounds,
            on_step=lambda name: on_step(name, num_steps),
        )

    if peers_python is None:
        results = run(workload.cases((DECODE, AUGMENT, END_TO_END)))
        return Profile(results, errors, None, workload)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = workload.stock.write(folder / "images")
        asked = peer_cases(policy, images, settings.batch_size, settings.num_workers, PEER_KINDS)
        with Peers(peers_python, asked, folder) as peers:
            cases = [*workload.cases(KINDS), *peers.cases]
            results = run(sorted(cases, key=lambda case: KINDS.index(case.name.split(", ")[0])))
            return Profile(results, errors, peers.describe(), workload)
