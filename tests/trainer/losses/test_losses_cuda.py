"""The fused losses' kernels on a GPU: what its own arithmetic makes of them.

Not in float64: a launch passes temperatures and weights as float32.
"""

import os

import contrast_cases
import loss_cases
import pytest
import torch
from loss_checks import Case, errors, evaluate

pytestmark = pytest.mark.gpu
# What older versions of torch ask for before a product may count as deterministic; loss_checks.py.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
CASES = {
    f"{group}, {name}": case
    for group, cases in (vars(loss_cases) | vars(contrast_cases)).items()
    if isinstance(cases, dict) and all(isinstance(case, Case) for case in cases.values())
    for name, case in cases.items()
}
ROUND_BFLOAT16 = ("BARLOW", "VICREG")  # their features once more, standardised, for tensor cores


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_error_is_that_of_the_equation_on_cuda(name: str, dtype: torch.dtype) -> None:
    """Value and gradient are as near to float64 as the plain form is, twice at most."""
    rounds = dtype == torch.bfloat16 and name.startswith(ROUND_BFLOAT16)
    for what, (ours, bound) in errors(CASES[name], dtype, device="cuda", rounds=rounds).items():
        assert ours <= bound, what


@pytest.mark.parametrize("name", CASES)
def test_same_bits_again_on_cuda(name: str) -> None:
    """Nothing depends on which block comes first."""
    inputs = tuple(x.to("cuda", torch.bfloat16) for x in CASES[name].inputs())
    first, again = (evaluate(CASES[name], "fused", inputs) for _ in range(2))
    assert torch.equal(first.value, again.value)
    assert torch.equal(first.grad, again.grad)


@pytest.mark.parametrize("name", CASES)
def test_nothing_waits_for_the_gpu(name: str) -> None:
    """A CUDA graph of forward and backward gives what the calls gave: no number is looked at."""
    case = CASES[name]
    inputs = tuple(x.to("cuda", torch.float32) for x in case.inputs())
    x = inputs[0].requires_grad_()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # compiles, and fills the allocator
        expected = torch.autograd.grad(case.run("fused", x, *inputs[1:]), x)[0]
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = torch.autograd.grad(case.run("fused", x, *inputs[1:]), x)[0]
    graph.replay()
    torch.testing.assert_close(found, expected)
