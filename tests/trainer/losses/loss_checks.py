"""What every fused loss is held to, on a CPU in chunks and in Triton's interpreter alike."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

Form = Callable[..., torch.Tensor]


class Case(NamedTuple):
    """A loss at one size: `run(impl, *inputs)` gives a number; the first input has a gradient."""

    run: Form
    inputs: Callable[[], tuple[torch.Tensor, ...]]  # float64
    exponent: float = 1.0  # the largest: a relative error of it is an absolute one of its power
    term: float = 0.0  # of what a gradient is a difference of


class Found(NamedTuple):
    """Value and gradient."""

    value: torch.Tensor
    grad: torch.Tensor


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evaluate(case: Case, impl: str, inputs: tuple[torch.Tensor, ...]) -> Found:
    """Forward and backward; memory that is handed out uninitialised is NaN."""
    x = inputs[0].detach().requires_grad_()
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        value = case.run(impl, x, *inputs[1:])
        (grad,) = torch.autograd.grad(value, x)
    finally:
        torch.use_deterministic_algorithms(was)
    return Found(value.detach(), grad)


def errors(
    case: Case,
    dtype: torch.dtype,
    impl: str = "fused",
    *,
    device: str = "cpu",
    rounds: bool = False,
) -> dict[str, tuple[float, float]]:
    """Of value and gradient: our error, and what it may be.

    Against float64 from the same rounded inputs; twice the error of the plain form, and a rounding:
    to the inputs' type where our form `rounds` what it computes from them.
    """
    inputs = tuple(x.to(device, dtype) for x in case.inputs())
    ours, plain = (evaluate(case, form, inputs) for form in (impl, "torch"))
    truth = evaluate(case, "torch", tuple(x.double() for x in inputs))
    assert ours.value.dtype == torch.promote_types(dtype, torch.float32)
    assert ours.grad.dtype == dtype
    found = {}
    for name, mine, theirs, exact in zip(Found._fields, ours, plain, truth, strict=True):
        # A value is what is left of sums of about 1.
        size = max(exact.abs().max().item(), 1.0 if name == "value" else case.term)
        slack = 8 * torch.finfo(dtype if rounds else mine.dtype).eps * size * case.exponent
        found[name] = (_error(mine, exact), 2 * _error(theirs, exact) + slack)
    return found


def _error(x: torch.Tensor, exact: torch.Tensor) -> float:
    # NaN must not pass as the smaller one.
    return (x.double() - exact).abs().max().nan_to_num(nan=float("inf")).item()


def assert_same_bits_again(case: Case, dtype: torch.dtype) -> None:
    """The same inputs give the same bits, also under autocast and compiled into one graph."""
    inputs = tuple(x.to(dtype) for x in case.inputs())
    first = evaluate(case, "fused", inputs)
    again = [evaluate(case, "fused", inputs)]
    with torch.autocast("cpu", torch.bfloat16):
        again.append(evaluate(case, "fused", inputs))
    # All partial functions count as one, and torch compiles one only so many times.
    torch.compiler.reset()
    compiled = torch.compile(case.run, fullgraph=True, backend="aot_eager")
    again.append(evaluate(case._replace(run=compiled), "fused", inputs))
    for found in again:
        assert torch.equal(found.value, first.value)
        assert torch.equal(found.grad, first.grad)


def assert_gradient(case: Case) -> None:
    """The gradient is that of finite differences in float64."""
    x, *others = case.inputs()
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: case.run("fused", x, *others), x, fast_mode=True)


def assert_operator(operator: Any, *arguments: Any) -> None:
    """Schema, fake tensors and autograd of an operator are what torch.compile relies on."""
    torch.library.opcheck(operator, arguments)
