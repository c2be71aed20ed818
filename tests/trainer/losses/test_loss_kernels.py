"""The losses' Triton kernels without a GPU: interpreted, and compiled ahead of time.

Interpreted, arithmetic and addresses are tested; how threads share memory, and the rounding of a
GPU's own instructions, are not.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kept_output import output_of

pytest.importorskip("triton", reason="Triton is there on Linux only")
FOLDER = Path(__file__).parent
ROOT = Path(__file__).parents[3]
SNAPSHOT = json.loads((FOLDER / "loss_kernels_compiled.json").read_text())
MAX_REGISTERS = 128  # of 255: sixteen warps a multiprocessor at least
MAX_SHARED_BYTES = 16384  # of 163 KiB or more: as many blocks as registers allow
# A product keeps its sums in registers and its operands in shared memory, as much as a block gets.
MAX_SHARED_BYTES_OF_PRODUCTS = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    ["cosine", "swapped", "dino", "barlow", "vicreg", "nt_xent", "queue", "batch", "hsic"],
)
def test_interpreted_kernels_are_the_equation(loss: str) -> None:
    """Values and gradients as near to float64 as the plain form's, twice at most; gradcheck."""
    found = output_of(FOLDER / "loss_kernels_interpreted.py", loss, TRITON_INTERPRET="1")
    assert len(found) >= 2 * 5
    for case, by_name in found.items():
        for name, (ours, bound) in by_name.items():
            assert ours <= bound, f"{name} of {case}"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles_without_spills(architecture: str) -> None:
    """Nothing is spilled, and registers and shared memory are what they were."""
    found = output_of(FOLDER / "loss_kernels_compiled.py", architecture)
    expected = {k: v for k, v in SNAPSHOT["kernels"].items() if k.endswith(architecture)}
    assert found["kernels"].keys() == expected.keys()
    for name, figures in found["kernels"].items():
        assert figures["stack_bytes"] == figures["spills"] == 0, name
        if figures["products"]:
            assert figures["tensor_core"] > 0, name
            assert figures["shared_bytes"] <= MAX_SHARED_BYTES_OF_PRODUCTS[architecture], name
        else:
            assert figures["registers"] <= MAX_REGISTERS, name
            assert figures["shared_bytes"] <= MAX_SHARED_BYTES, name
    if found["triton"] == SNAPSHOT["triton"]:  # another version may do it another way
        assert found["kernels"] == expected


def test_the_snapshot_is_of_the_triton_we_pin() -> None:
    """constraints.txt and loss_kernels_compiled.json name one version."""
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"triton=={SNAPSHOT['triton']}" in pinned


def test_losses_do_not_import_triton() -> None:
    """It is imported when a kernel is to run, so that a CPU needs none."""
    code = "import sys, trainer.losses.cosine; print('triton' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"
