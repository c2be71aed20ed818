"""Every backend makes the reference's picture from the same plan, op by op and policy by policy."""

import numpy as np
import pytest
import torch
from parity_cases import hard_images, neutral_plan, op_changes, photographs
from tolerances import BOUNDS, Bound

from augengine.backends.backend import Backend
from augengine.backends.create_backend import create_backend
from augengine.draw import draw_plan
from augengine.plan import Plan
from augengine.policies import load_policy, policy_names
from augengine.reference import render

IMAGES = {"photographs": photographs, "hard edges": hard_images}
OPS = [op for op in BOUNDS if "policy" not in op]


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(scope="module", params=["dali", "kornia", "fused"])
def backend(request: pytest.FixtureRequest, device: str) -> Backend:
    return create_backend(request.param, device, num_threads=2)


def make(backend: Backend, images: tuple[np.ndarray, ...], plan: Plan) -> tuple[torch.Tensor, ...]:
    return backend([torch.from_numpy(image).to(backend.device) for image in images], plan)


def check(backend: Backend, images: tuple[np.ndarray, ...], plan: Plan, bound: Bound) -> None:
    """Each view of each image against the reference, in levels."""
    crops = make(backend, images, plan)
    std = np.array(plan.std)[:, None, None] * 255
    for views, crop in zip(plan.groups, crops, strict=True):
        for k, v in enumerate(views):
            for b, image in enumerate(images):
                error = np.abs(crop[k, b].float().cpu().numpy() - render(image, plan, b, v)) * std
                where = f"image {b} {image.shape}, view {v}, window {plan.window[b, v]}"
                assert error.mean() <= bound.mean, where
                assert error.max() <= bound.max, where


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("op", OPS)
def test_one_op_agrees_with_the_reference(backend: Backend, op: str, kind: str) -> None:
    """One op alone, over whole images, corners, single pixels and windows at every border."""
    images = IMAGES[kind]()
    plan = neutral_plan(images, **op_changes(op, len(images)))
    check(backend, images, plan, BOUNDS[op][backend.name])


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("name", policy_names())
def test_a_published_policy_agrees_with_the_reference(
    backend: Backend, name: str, kind: str
) -> None:
    """All ops together, as drawn, in every order that was drawn."""
    images = IMAGES[kind]()
    policy = load_policy(name)
    policy = policy.with_views((2, 2)[: len(policy.groups)], (48, 20)[: len(policy.groups)])
    sizes = np.array([image.shape[:2] for image in images])
    plan = draw_plan(policy, np.arange(len(images)), np.zeros(len(images), int), sizes, 3)
    op = "bicubic policy" if plan.bicubic.any() else "policy"
    check(backend, images, plan, BOUNDS[op][backend.name])


def test_the_order_of_colours_is_the_plans(backend: Backend) -> None:
    """The 24 orders of the four ops give 24 different pictures, each the reference's."""
    images = (photographs()[0],) * 24
    shape = (24, 5)
    changes = {name: np.full(shape, 1.6) for name in ("brightness", "contrast", "saturation")}
    order = np.repeat(np.arange(24)[:, None], 5, axis=1)
    plan = neutral_plan(images, **changes, hue=np.full(shape, 0.2), order=order)
    check(backend, images, plan, BOUNDS["jitter"][backend.name])
    pictures = make(backend, images, plan)[0][0].flatten(1)  # [24, C * S * S]
    assert (torch.cdist(pictures, pictures) + 9 * torch.eye(24, device=pictures.device)).min() > 1


@pytest.mark.parametrize("kernel_px", [1, 3, 23, 95])
def test_a_blur_may_be_wider_than_half_the_view(backend: Backend, kernel_px: int) -> None:
    """Kernels from one tap to the widest that a reflected border allows."""
    images = photographs()[:2]
    sigma = np.array([[1.9, 0.3, 0, 0, 0], [0, 0.7, 0, 0, 0]])
    plan = neutral_plan(images, sigma=sigma, kernel_px=[kernel_px] * 2 + [1] * 3)
    check(backend, images, plan, BOUNDS["blur"][backend.name])
