"""Correctness before scores: each method's losses are compared before any of its runs begins."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parity.sides import ROOT
from shards.errors import DataError
from trainer.record.conditions import conditions

TOLERANCE = 1e-6  # of float64 losses and gradients


def check_losses(report: dict[str, Any], methods: Sequence[str], python: str) -> None:
    """Compare those that were not; the agreement is kept in the report.

    Raises:
        DataError: a loss or its gradient differs, and nothing says why.
    """
    lacking = [method for method in methods if method not in report["agreement"]]
    if lacking:
        report["agreement"] |= _compare(lacking, python)
    agreement = report["agreement"]
    if bad := [method for method in methods if not agrees(agreement[method])]:
        raise DataError(
            f"losses and gradients agree to {TOLERANCE:g} before scores count, got more: "
            f"{', '.join(bad)}; see benchmarks/parity/loss_agreement.py"
        )


def agrees(found: Mapping[str, Any]) -> bool:
    """Whether both sides compute the same; where there is no formula between them, it is said."""
    if found["loss_error"] is None:
        return bool(found["convention"])
    return max(found["loss_error"], found["gradient_error"]) < TOLERANCE


def _compare(methods: Sequence[str], python: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "agreement.json"
        words = ["-m", "benchmarks.parity.loss_agreement", "--methods", ",".join(methods)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [python, *words, "--out", str(out)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise DataError(f"loss_agreement ended with code {done.returncode}: {said}")
        found = json.loads(out.read_text(encoding="utf-8"))
    return {method: row | {"conditions": conditions()} for method, row in found.items()}
