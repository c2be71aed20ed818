"""The fused cosine losses on a CPU: chunks of images give what the equation gives."""

import pytest
import torch
from loss_cases import COSINE
from loss_checks import (
    assert_gradient,
    assert_operator,
    assert_same_bits_again,
    errors,
    evaluate,
    rows,
)

from shards.errors import UsageError
from trainer.losses.cosine import byol_loss, pair_cosine
from trainer.losses.kernels import chunks
from trainer.losses.kernels.cosine_op import MAX_DIM, cosine_sum, cosine_sum_backward

# And elements of a chunk: image by image, or all at once.
DTYPES = [
    (torch.float64, 1),
    (torch.float32, 1),
    (torch.bfloat16, 1 << 16),
    (torch.float16, 1 << 16),
]


@pytest.mark.parametrize("name", COSINE)
@pytest.mark.parametrize(("dtype", "elements"), DTYPES)
def test_error_is_that_of_the_equation(
    name: str, dtype: torch.dtype, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and gradient are as near to float64 as the plain form is, twice at most."""
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
    for what, (ours, bound) in errors(COSINE[name], dtype).items():
        assert ours <= bound, what


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bits_again_and_compiled(dtype: torch.dtype) -> None:
    assert_same_bits_again(COSINE["2+3 views"], dtype)


def test_gradient_is_that_of_finite_differences() -> None:
    assert_gradient(COSINE["2+3 views"])


def test_operators_are_what_torch_wants() -> None:
    p, z = rows(3, 4, 9).requires_grad_(), rows(2, 4, 9, seed=1)
    assert_operator(cosine_sum, p, z, 1e-12)
    assert_operator(cosine_sum_backward, torch.ones((), dtype=p.dtype), p.detach(), z, 1e-12)


def test_zero_rows_count_as_cosine_zero_without_gradient() -> None:
    """As in the plain form; a NaN is not hidden."""
    p, z = rows(2, 3, 5).float(), rows(2, 3, 5, seed=1).float()
    p[0, 1], z[1, 2] = 0, 0
    ours, plain = (evaluate(COSINE["two views"], impl, (p, z)) for impl in ("fused", "torch"))
    torch.testing.assert_close(ours, plain)
    assert ours.grad[0, 1].abs().max() == 0
    p[1, 0, 2] = torch.nan
    assert evaluate(COSINE["two views"], "fused", (p, z)).value.isnan()


def test_inputs_need_not_be_contiguous() -> None:
    p, z = (rows(4, 7, 3, seed=seed).transpose(0, 2)[:, :, ::2] for seed in (0, 1))
    torch.testing.assert_close(pair_cosine(p, z, "fused"), pair_cosine(p, z, "torch"))


def test_what_it_cannot_do_it_says() -> None:
    """Gradients of targets, second derivatives, very long rows, unknown names; auto avoids them."""
    p, z = rows(2, 3, 5).requires_grad_(), rows(2, 3, 5, seed=1).requires_grad_()
    with pytest.raises(UsageError, match="detach the targets"):
        byol_loss(p, z, "fused")
    long = torch.zeros(2, 1, MAX_DIM + 1)
    with pytest.raises(UsageError, match="8,192"):
        byol_loss(long, long, "fused")
    with pytest.raises(UsageError, match="known: auto, torch, fused"):
        byol_loss(p, z, "triton")
    (grad,) = torch.autograd.grad(byol_loss(p, z.detach(), "fused"), p, create_graph=True)
    with pytest.raises(NotImplementedError, match="impl='torch'"):
        grad.square().sum().backward()
    large = torch.ones(2, 1024, 256, requires_grad=True)
    assert torch.autograd.grad(byol_loss(large, large), large)[0].isfinite().all()
