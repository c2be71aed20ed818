"""The fused core of SwAV and DINO on a CPU: potentials in place of codes, chunks of images."""

import pytest
import torch
from loss_cases import DINO, SWAPPED, scores
from loss_checks import (
    Case,
    assert_gradient,
    assert_operator,
    assert_same_bits_again,
    errors,
    evaluate,
)

from shards.errors import UsageError
from trainer.losses.codes import Codes
from trainer.losses.dino import dino_loss, teacher_codes, teacher_probabilities
from trainer.losses.kernels import chunks
from trainer.losses.kernels.sinkhorn_op import sample_potentials, sinkhorn_step
from trainer.losses.kernels.swapped_op import swapped_prediction as operator
from trainer.losses.kernels.swapped_op import swapped_prediction_backward
from trainer.losses.sinkhorn import sinkhorn, sinkhorn_codes
from trainer.losses.swapped import MAX_VIEWS, swapped_prediction, swapped_prediction_loss

CASES = {f"swav, {k}": v for k, v in SWAPPED.items()} | {f"dino, {k}": v for k, v in DINO.items()}

# And elements of a chunk: image by image, or all at once.
DTYPES = [
    (torch.float64, 1),
    (torch.float32, 1),
    (torch.bfloat16, 1 << 16),
    (torch.float16, 1 << 16),
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "elements"), DTYPES)
def test_error_is_that_of_the_equation(
    name: str, dtype: torch.dtype, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and gradient are as near to float64 as the plain form is, twice at most."""
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
    for what, (ours, bound) in errors(CASES[name], dtype).items():
        assert ours <= bound, what


@pytest.mark.parametrize("name", ["swav, a queue", "dino, 2+3 views"])
def test_same_bits_again_and_compiled(name: str) -> None:
    assert_same_bits_again(CASES[name], torch.float32)


@pytest.mark.parametrize("name", ["swav, 2+3 views", "swav, one code", "dino, 2+3 views"])
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    assert_gradient(CASES[name])


def test_operators_are_what_torch_wants() -> None:
    x, q = scores(3, 4, 9).requires_grad_(), scores(2, 4, 9, seed=1)
    f = sinkhorn_step(q, None, 20.0)
    g = sample_potentials(q, f, 20.0)
    assert_operator(sinkhorn_step, q, None, 20.0)
    assert_operator(sinkhorn_step, q, f, 20.0)
    assert_operator(sample_potentials, q, f, 20.0)
    assert_operator(operator, x, q, f, g, 20.0, 0.1, 0.25)
    lse = torch.logsumexp(x.detach() / 0.1, dim=-1)
    one = torch.ones((), dtype=x.dtype)
    assert_operator(swapped_prediction_backward, one, x.detach(), q, f, g, lse, 20.0, 0.1, 0.25)


@pytest.mark.parametrize("iterations", [1, 3, 7])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_codes_are_sinkhorns(iterations: int, scale: float) -> None:
    """Potentials of chunks give the matrix of the plain form, its rows behind a queue's."""
    s, queue = scale * scores(2, 9, 7), scale * scores(2, 20, 7, seed=1)
    codes = sinkhorn_codes(s, queue, iterations=iterations, impl="fused")
    whole = sinkhorn(torch.cat([queue, s], dim=1), iterations=iterations)
    torch.testing.assert_close(codes.matrix(), whole[:, -9:], rtol=1e-9, atol=1e-12)


def test_an_unused_prototype_stays_finite() -> None:
    """No sample is near it: in float32 its exponentials are 0 in every row."""
    s = scores(1, 6, 4).float()
    s[..., 2] = -1e4
    codes = sinkhorn_codes(s, impl="fused")
    assert codes.prototypes.isfinite().all()
    torch.testing.assert_close(codes.matrix().sum(-1), torch.ones(1, 6), rtol=0, atol=1e-2)


def test_teacher_codes_are_its_probabilities() -> None:
    """As a matrix, and in the loss: both forms equal DINO's loss of the probabilities."""
    student, logits, center = scores(5, 3, 11), scores(2, 3, 11, seed=1), scores(11) / 3
    q = teacher_probabilities(logits, center, 0.05)
    for impl in ("torch", "fused"):
        codes = teacher_codes(logits, center, 0.05, impl)
        torch.testing.assert_close(codes.matrix(), q)
        loss, entropy = swapped_prediction(student, codes, 0.1, impl)
        torch.testing.assert_close(loss, dino_loss(student, q, 0.1))
        torch.testing.assert_close(entropy, torch.special.entr(q).sum(-1).mean())


def test_a_code_that_does_not_sum_to_one() -> None:
    """The value counts what a code sums to, as the equation does."""
    s = scores(3, 2, 5)
    codes = Codes(s[:1], 1.0, torch.zeros(1, 5).double(), torch.zeros(1, 2).double())
    loss = swapped_prediction(s, codes, 0.1, "fused").loss
    torch.testing.assert_close(loss, swapped_prediction_loss(s, codes.matrix(), 0.1))


def test_nan_is_not_hidden() -> None:
    inputs = tuple(x.float() for x in CASES["swav, 2+3 views"].inputs())
    inputs[0][3, 1, 5] = torch.nan
    assert evaluate(CASES["swav, 2+3 views"], "fused", inputs).value.isnan()


def test_inputs_need_not_be_contiguous() -> None:
    def case() -> tuple[torch.Tensor, ...]:
        return tuple(scores(7, 6, n, seed=n).transpose(0, 2)[:, ::2] for n in (5, 2))

    found = errors(Case(CASES["swav, 2+3 views"].run, case), torch.float32)
    for ours, bound in found.values():
        assert ours <= bound


def test_what_it_cannot_do_it_says() -> None:
    """Very many views, second derivatives."""
    many = torch.zeros(MAX_VIEWS + 1, 1, 2)
    with pytest.raises(UsageError, match="at most 64 views"):
        swapped_prediction(many, sinkhorn_codes(many[:1]), impl="fused")
    x = scores(3, 2, 5).requires_grad_()
    loss = swapped_prediction(x, sinkhorn_codes(x[:2]), impl="fused").loss
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(NotImplementedError, match="impl='torch'"):
        grad.square().sum().backward()
