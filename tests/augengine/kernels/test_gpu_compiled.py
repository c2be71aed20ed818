"""The GPU kernels compiled ahead of time: what no GPU is needed for to see that it would be slow.

Registers that do not suffice are spilled to memory, and a block that asks for more shared memory
than there is cannot run at all; neither is an error when a kernel is compiled.
"""

import json
from pathlib import Path

import pytest
from kept_output import output_of

pytest.importorskip("triton", reason="Triton is there on Linux only")
SCRIPT = Path(__file__).with_name("gpu_compiled.py")
SNAPSHOT = json.loads(SCRIPT.with_suffix(".json").read_text())
ROOT = Path(__file__).parents[3]
# Of 255: sixteen warps a multiprocessor at least, eight for the products on tensor cores.
MAX_REGISTERS, MAX_PRODUCT_REGISTERS = 128, 232
MAX_SHARED_BYTES = 8192  # of 163 KiB or more: as many blocks as registers allow
NUM_KERNELS = 4 * 3 + 3 * 2 + 3  # by type of view; those for two types once more for odd sizes


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles_without_spills(architecture: str) -> None:
    """Nothing is spilled, and registers and shared memory are what they were."""
    found = output_of(SCRIPT, architecture)
    assert len(found["kernels"]) == NUM_KERNELS
    for name, figures in found["kernels"].items():
        assert figures["stack_bytes"] == figures["spills"] == 0, name
        of_products = name.startswith("half") and "contrast" not in name
        limit = MAX_PRODUCT_REGISTERS if of_products else MAX_REGISTERS
        assert figures["registers"] <= limit, name
        assert figures["shared_bytes"] <= MAX_SHARED_BYTES, name
    if found["triton"] == SNAPSHOT["triton"]:  # another version may do it another way
        expected = {k: v for k, v in SNAPSHOT["kernels"].items() if k.endswith(architecture)}
        assert found["kernels"] == expected


def test_the_snapshot_is_of_the_triton_we_pin() -> None:
    """constraints.txt and gpu_compiled.json name one version."""
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"triton=={SNAPSHOT['triton']}" in pinned
