"""Fused Barlow Twins and VICReg on a CPU: products of images or of features, block by block."""

import weakref
from typing import Any

import pytest
import torch
from loss_cases import BARLOW, MOMENTS, VICREG, features
from loss_checks import (
    Case,
    assert_gradient,
    assert_operator,
    assert_same_bits_again,
    errors,
    evaluate,
    rows,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shards.errors import UsageError
from trainer.losses.barlow import barlow_loss
from trainer.losses.kernels import chunks, gram, gram_cpu
from trainer.losses.kernels.gram_op import column_moments, column_moments_backward
from trainer.losses.vicreg import vicreg_terms

CASES = {f"barlow, {k}": v for k, v in BARLOW.items()}
CASES |= {f"vicreg, {k}": v for k, v in VICREG.items()}
BOTH = [f"{loss}, 2+3 views, {b} images" for loss in ("barlow", "vicreg") for b in ("few", "many")]

# And elements of a block: as small as blocks get, or all at once.
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
    monkeypatch.setattr(gram_cpu, "BLOCK_ELEMENTS", elements)
    monkeypatch.setattr(gram, "LEAST", 16)
    for what, (ours, bound) in errors(CASES[name], dtype).items():
        assert ours <= bound, what


@pytest.mark.parametrize("within", [False, True])
def test_cases_are_of_both_forms(within: bool) -> None:
    """Images are multiplied where they are few, features where those are."""
    for name, (num_targets, make) in MOMENTS.items():
        for images in ("few", "many"):
            if name.endswith(f"{images} images"):
                todo = gram.plan(make().shape, num_targets, within)
                assert todo.is_gram == (images == "few")
                assert todo.side == min(make().shape[1:])


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bits_again_and_compiled(name: str, dtype: torch.dtype) -> None:
    assert_same_bits_again(CASES[name], dtype)


@pytest.mark.parametrize("name", BOTH)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    assert_gradient(CASES[name])


@pytest.mark.parametrize("eps", [1e-5, None])
@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 19, 5)])
def test_operators_are_what_torch_wants(shape: tuple[int, ...], eps: float | None) -> None:
    z = rows(*shape)
    mean, second, _, matrices = column_moments(z, 2, eps)
    assert_operator(column_moments, z.requires_grad_(), 2, eps)
    given = (rows(*mean.shape), rows(*second.shape), rows(), z.detach(), mean, second, matrices)
    assert_operator(column_moments_backward, *given, eps)


def test_each_term_of_vicreg_has_its_gradient() -> None:
    """One of the three alone: the operator's other outputs then have none."""
    z = features(4, 6, 33).requires_grad_()
    ours, plain = (vicreg_terms(z, 3, impl) for impl in ("fused", "torch"))
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(
            torch.autograd.grad(mine, z, retain_graph=True),
            torch.autograd.grad(theirs, z, retain_graph=True),
        )


def test_equal_views_do_not_differ() -> None:
    """Exactly, as no large numbers are subtracted: also with an offset, in float32."""
    z = features(1, 9, 40, offset=50.0).float().expand(3, 9, 40)
    assert vicreg_terms(z, 2, "fused").invariance.item() == 0


@pytest.mark.parametrize("shape", [(2, 16, 512), (8, 16, 512), (2, 512, 16), (8, 512, 16)])
def test_what_is_kept_is_no_larger_than_need_be(shape: tuple[int, int, int]) -> None:
    """B x B of each global view and one for the others, or D x D of each pair: never the larger."""
    z = torch.zeros(shape)
    small, (num_views, *_) = min(shape[1:]), shape
    *_, matrices = column_moments(z, 2, 1e-5)
    num_pairs = 1 + 2 * (num_views - 2)
    num_grams = min(num_views, 3)
    assert matrices.shape == (num_grams if shape[1] == small else num_pairs, small, small)
    *_, matrices = column_moments(z, 2, None)
    assert matrices.shape == (num_views, small, small)


class PeakMemory(TorchDispatchMode):
    """Bytes of tensors that are alive at once, without those made before."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what storages an operation returns that it was not given."""
        given = {_storage(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and _storage(x) not in given:
                storage = x.untyped_storage()
                self.alive[_storage(x)] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, _storage(x), None)
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


def _storage(x: torch.Tensor) -> int:
    return x.untyped_storage()._cdata


@pytest.mark.parametrize("eps", [1e-5, None])
def test_peak_memory_is_an_eighth(eps: float | None) -> None:
    """Of the plain form's, for B = 128 and D = 2,048; beside the features and their gradient."""
    z = features(2, 128, 2048).bfloat16().requires_grad_()
    with PeakMemory() as plain:
        loss = barlow_loss(z, 2, impl="torch") if eps else sum(vicreg_terms(z, 2, "torch"))
        torch.autograd.grad([loss], z)
    # What is inside an operator is hidden from a mode.
    with torch.no_grad(), PeakMemory() as ours:
        mean, second, squares, matrices = gram.forward(z, 2, eps, gram_cpu)
        gram.backward(mean, second, squares, z, mean, second, matrices, eps, gram_cpu)
    gradient = z.numel() * z.element_size()
    assert 0 < 8 * (ours.peak - gradient) < plain.peak - gradient


@pytest.mark.parametrize("name", BOTH)
def test_nan_is_not_hidden(name: str) -> None:
    (z,) = CASES[name].inputs()
    z = z.float()
    z[3, 1, 5] = torch.nan
    assert evaluate(CASES[name], "fused", (z,)).value.isnan()


@pytest.mark.parametrize("name", BOTH)
def test_inputs_need_not_be_contiguous(name: str) -> None:
    z = features(9, 10, 5).transpose(0, 2)[:, ::2]
    for ours, bound in errors(Case(CASES[name].run, lambda: (z,)), torch.float32).values():
        assert ours <= bound


def test_what_it_cannot_do_it_says() -> None:
    """Second derivatives; the variance of one image."""
    z = rows(2, 4, 9).requires_grad_()
    for loss in (barlow_loss(z, 2, impl="fused"), sum(vicreg_terms(z, 2, "fused"))):
        (grad,) = torch.autograd.grad(loss, z, create_graph=True)
        with pytest.raises(NotImplementedError, match="impl='torch'"):
            grad.square().sum().backward()
    with pytest.raises(UsageError, match="at least 2 images, got 1; raise the batch size"):
        vicreg_terms(z[:, :1], 2, "fused")
