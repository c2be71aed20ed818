"""The fused contrastive losses on a CPU: tiles of scores give what the equation gives."""

import pytest
import torch
from contrast_cases import BATCH, HSIC, NT_XENT, QUEUE
from loss_checks import (
    Case,
    assert_gradient,
    assert_operator,
    assert_same_bits_again,
    errors,
    evaluate,
    rows,
)

from shards.errors import UsageError
from trainer.losses.cosine import unit_rows
from trainer.losses.hsic import hsic_loss
from trainer.losses.info_nce import batch_info_nce, queue_info_nce
from trainer.losses.kernels import tiles
from trainer.losses.kernels.hsic_op import kernel_sums, kernel_sums_backward
from trainer.losses.kernels.keys_op import key_scores, key_scores_backward
from trainer.losses.kernels.queue_op import attend_queue, attend_queue_backward
from trainer.losses.kernels.views_op import view_scores, view_scores_backward
from trainer.losses.nt_xent import nt_xent_loss

CASES = {f"nt-xent, {k}": v for k, v in NT_XENT.items()}
CASES |= {f"queue, {k}": v for k, v in QUEUE.items()}
CASES |= {f"hsic, {k}": v for k, v in HSIC.items()}
CASES |= {f"batch, {k}": v for k, v in BATCH.items()}
SOME = ["nt-xent, two views", "nt-xent, 2+3 views", "queue, one view", "queue, both ways"]
SOME += ["hsic, four views", "batch, a queue", "batch, five keys"]

# And rows and elements of a tile: one score at a time, a few, or all at once.
DTYPES = [
    (torch.float64, 1, 1),
    (torch.float32, 3, 1 << 17),
    (torch.bfloat16, 512, 1 << 17),
    (torch.float16, 4, 20),
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "num_rows", "elements"), DTYPES)
def test_error_is_that_of_the_equation(
    name: str, dtype: torch.dtype, num_rows: int, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and gradient are as near to float64 as the plain form is, twice at most."""
    monkeypatch.setitem(tiles.TILES, "cpu", (num_rows, elements))
    for what, (ours, bound) in errors(CASES[name], dtype).items():
        assert ours <= bound, what


@pytest.mark.parametrize("name", SOME)
def test_same_bits_again_and_compiled(name: str) -> None:
    assert_same_bits_again(CASES[name], torch.float32)


@pytest.mark.parametrize("name", SOME)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    assert_gradient(CASES[name])


def test_operators_are_what_torch_wants() -> None:
    z, everyone = rows(3, 4, 9).requires_grad_(), rows(3, 4, 9)
    assert_operator(view_scores, z, everyone, 2, 0, 0.1, 1e-12)
    negatives, positives = (x.detach() for x in view_scores(z, everyone, 2, 0, 0.1, 1e-12))
    given = (z.detach(), everyone, negatives, torch.ones_like(negatives), positives)
    assert_operator(view_scores_backward, *given, 0, 0.1, 1e-12)
    x, of_all = rows(6, 9).requires_grad_(), rows(6, 9)
    assert_operator(kernel_sums, x, of_all, 0, 1.0, 1e-12)
    sums = (x.detach() for x in kernel_sums(x, of_all, 0, 1.0, 1e-12))
    assert_operator(kernel_sums_backward, x.detach(), of_all, *sums, 0, 1.0, 1e-12)
    assert_operator(key_scores, z, everyone.clone().requires_grad_(), everyone, 0, 0.1)
    negatives = key_scores(z.detach(), everyone, everyone, 0, 0.1)
    given = (z.detach(), everyone, negatives, torch.ones_like(negatives))
    assert_operator(key_scores_backward, *given, True, 0, 0.1)
    assert_operator(key_scores_backward, *given, False, 0, 0.1)
    q, queue = rows(2, 3, 5).requires_grad_(), rows(7, 5)
    assert_operator(attend_queue, q, queue, 0.1)
    lse, mean = (x.detach() for x in attend_queue(q, queue, 0.1))
    assert_operator(attend_queue_backward, lse, mean, q.detach(), 0.1)


def test_a_gradient_with_a_sign_and_of_some_numbers() -> None:
    """What comes from above may be negative, 0 or large."""
    z, wants = rows(3, 5, 4).requires_grad_(), rows(3, 3, 5, seed=1)
    wants[0, 1, 2] = 0
    negatives, positives = view_scores(z, z.detach(), 2, 0, 0.3, 1e-12)
    s = torch.einsum("vbd,wcd->vwbc", unit_rows(z), unit_rows(z)) / 0.3
    others = s.masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf).logsumexp(-1)
    asked = torch.ones(3, 3, dtype=torch.bool)
    asked[:2, 2] = False  # no global view asks a local one
    torch.testing.assert_close(negatives[asked], others[asked])
    torch.testing.assert_close(positives, s.diagonal(dim1=-2, dim2=-1)[:, :2])
    found = [
        torch.autograd.grad((x * wants)[asked].sum(), z, retain_graph=True)
        for x in (negatives, others)
    ]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", SOME)
def test_nan_is_not_hidden(name: str) -> None:
    inputs = tuple(x.float() for x in CASES[name].inputs())
    inputs[0][0, 2, 1] = torch.nan
    assert evaluate(CASES[name], "fused", inputs).value.isnan()


def test_inputs_need_not_be_contiguous() -> None:
    def views() -> tuple[torch.Tensor, ...]:
        return (rows(7, 6, 5).transpose(0, 2)[:, ::2],)

    def queue() -> tuple[torch.Tensor, ...]:
        return *(rows(7, 6, 2, seed=n).transpose(0, 2)[:, ::2] for n in (0, 1)), rows(7, 9).T

    cases = (Case(CASES[SOME[0]].run, views), Case(CASES[SOME[2]].run, queue))
    for case in cases:
        for ours, bound in errors(case, torch.float32).values():
            assert ours <= bound


def test_the_queue_may_move_on_before_backward() -> None:
    """Backward needs no row of it."""
    q, k, queue = rows(1, 3, 5).requires_grad_(), rows(1, 3, 5, seed=1), unit_rows(rows(9, 5))
    (expected,) = torch.autograd.grad(queue_info_nce(q, k, queue, 0.1, impl="fused"), q)
    loss = queue_info_nce(q, k, queue, 0.1, impl="fused")
    queue.zero_()
    assert torch.equal(torch.autograd.grad(loss, q)[0], expected)


def test_what_it_cannot_do_it_says() -> None:
    """Second derivatives, gradients of a queue; auto avoids them."""
    z, queue = rows(2, 3, 5).requires_grad_(), unit_rows(rows(9, 5)).requires_grad_()
    with pytest.raises(UsageError, match="detach it"):
        queue_info_nce(z, z.detach(), queue, 0.1, impl="fused")
    for loss in (
        nt_xent_loss(z, 2, 0.1, "fused"),
        hsic_loss(z, impl="fused"),
        batch_info_nce(z, z.detach(), 0.1, impl="fused"),
        queue_info_nce(z, z.detach(), queue.detach(), 0.1, impl="fused"),
    ):
        (grad,) = torch.autograd.grad(loss, z, create_graph=True)
        with pytest.raises(NotImplementedError, match="impl='torch'"):
            grad.square().sum().backward()
    large = torch.ones(1 << 15, 64, dtype=torch.float64, requires_grad=True)
    loss = queue_info_nce(z[..., :1].expand(2, 3, 64), torch.ones(2, 3, 64).double(), large, 0.1)
    assert torch.autograd.grad(loss, large)[0].isfinite().all()
