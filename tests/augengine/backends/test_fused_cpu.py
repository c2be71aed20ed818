"""The fused backend on the CPU against the reference: each op alone, hard shapes, policies."""

import gc
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from augengine.backends.fused import FusedBackend
from augengine.backends.recycled import RecycledMemory
from augengine.draw import draw_plan
from augengine.plan import NO_SOLARIZE, Plan
from augengine.policies import load_policy, policy_names
from augengine.policy import SOLARIZE_THRESHOLD
from augengine.reference import render
from shards.errors import UsageError

# Largest difference from the reference in [0, 1] units: float32 sums in another order. Hue divides
# by a chroma that may be small, a saturation of 1.8 scales what is there already.
TOLERANCE = 4e-6

PHOTOGRAPHIC = {"brightness": 0.7, "contrast": 1.4, "saturation": 0.3, "hue": -0.17, "order": 13}
OPS = {
    "nothing": {},
    "flip": {"flip": True},
    "bicubic": {"bicubic": True},
    "brightness up": {"brightness": 1.8},
    "brightness to black": {"brightness": 0.0},
    "contrast up": {"contrast": 1.8},
    "contrast to its mean": {"contrast": 0.0},
    "saturation up": {"saturation": 1.8},
    "saturation to gray": {"saturation": 0.0},
    "hue forward": {"hue": 0.2},
    "hue backward": {"hue": -0.31},
    "hue half a turn": {"hue": 0.5},
    "gray": {"gray": True},
    "blur": {"sigma": 1.3},
    "hardly a blur": {"sigma": 0.1},
    "wide blur": {"sigma": 30.0},
    "gray and blur": {"gray": True, "sigma": 1.0},
    "solarize": {"solarize": SOLARIZE_THRESHOLD},
    "solarize all": {"solarize": 0.0},
    "colour": PHOTOGRAPHIC,
    "everything": {
        **PHOTOGRAPHIC,
        **{"flip": True, "gray": True, "sigma": 0.9, "solarize": 0.5, "bicubic": True},
    },
}


def make_plan(
    image_sizes: list[tuple[int, int]],
    windows: list[tuple[int, int, int, int]] | None = None,  # one view each, of image 0
    *,
    size_px: int = 16,
    kernel_px: int = 7,
    **fields: float,
) -> Plan:
    """A plan of one crop group, neutral but for `fields`; without windows, whole images."""
    if windows is None:
        window = np.array([[(0, 0, *size)] for size in image_sizes])
    else:
        window = np.array([windows])
    b, v = window.shape[:2]
    neutral = {"flip": False, "gray": False, "sigma": 0, "solarize": NO_SOLARIZE, "order": 0}
    neutral |= {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}
    bicubic = bool(fields.pop("bicubic", False))
    return Plan(
        ids=np.arange(b),
        epochs=np.zeros(b),
        image_sizes=np.array(image_sizes),
        window=window,
        **{name: np.full((b, v), fields.get(name, value)) for name, value in neutral.items()},
        group=np.zeros(v),
        size_px=np.full(v, size_px),
        kernel_px=np.full(v, kernel_px),
        bicubic=np.full(v, bicubic),
        mean=(0.1, 0.5, 0.9),
        std=(0.2, 0.5, 1.0),
    )


def make_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth colours with noise, and black, white and gray where they are large enough."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width][:, :, :, None] / 7
    image = (
        128 + 90 * np.sin(rows + columns * [0.5, 1.0, 1.7]) + rng.normal(0, 25, (height, width, 3))
    )
    image = np.clip(image, 0, 255).astype(np.uint8)
    image[: height // 5, : width // 5] = 255
    image[height // 2 : height // 2 + height // 5] = 128
    return torch.from_numpy(image)


def worst_error(backend: FusedBackend, images: list[torch.Tensor], plan: Plan) -> float:
    """Largest difference from the reference over all views, in [0, 1] units."""
    std = np.array(plan.std)[:, None, None]
    worst = 0.0
    for views, group in zip(backend(images, plan), plan.groups, strict=True):
        for v, view in zip(group, views.float().numpy(), strict=True):
            for b, image in enumerate(images):
                error = np.abs(view[b] - render(image.numpy(), plan, b, v)) * std
                assert not np.isnan(error).any()
                worst = max(worst, float(error.max()))
    return worst


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output starts as NaN: a pixel that is not written shows."""
    empty = RecycledMemory.empty
    monkeypatch.setattr(RecycledMemory, "empty", lambda *args: empty(*args).fill_(torch.nan))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("size_px", [16, 61])
def test_each_op_is_the_reference(name: str, size_px: int) -> None:
    """Every op alone, and some together, gives the reference's pixels."""
    images = [make_image(45, 70)]
    plan = make_plan([(45, 70)], size_px=size_px, kernel_px=9, **OPS[name])
    assert worst_error(FusedBackend(), images, plan) < TOLERANCE


@pytest.mark.parametrize("order", range(24))
def test_each_order_is_the_reference(order: int) -> None:
    """The four colour ops run in any of their 24 orders, contrast about the mean it meets there."""
    plan = make_plan([(30, 40)], size_px=33, **{**PHOTOGRAPHIC, "order": order})
    assert worst_error(FusedBackend(), [make_image(30, 40)], plan) < TOLERANCE


@pytest.mark.parametrize("contrast", [1.0, 0.5])
@pytest.mark.parametrize("sigma", [0.0, 1.1])
def test_sweeps_combine(contrast: float, sigma: float) -> None:
    """With and without contrast and blur, that is in one, two or three sweeps, nothing is lost."""
    plan = make_plan(
        [(50, 50)], size_px=70, contrast=contrast, sigma=sigma, saturation=1.5, order=9
    )
    assert worst_error(FusedBackend(), [make_image(50, 50)], plan) < TOLERANCE


@pytest.mark.parametrize("height", [1, 2, 3, 31, 300])
@pytest.mark.parametrize("width", [1, 2, 5, 64, 333])
def test_odd_shapes(height: int, width: int) -> None:
    """Images of any shape, from one pixel on, in sizes below, at and above a vector and a band."""
    for size_px in (1, 2, 31, 32, 35):
        taps = min(5, 2 * size_px - 1)
        for bicubic in (False, True):
            plan = make_plan(
                [(height, width)], size_px=size_px, kernel_px=taps, sigma=0.8, bicubic=bicubic
            )
            error = worst_error(FusedBackend(), [make_image(height, width)], plan)
            assert error < TOLERANCE, (size_px, bicubic)


def test_windows_at_every_border_and_of_one_pixel() -> None:
    """Windows that touch each border and corner, or hold one pixel, read nothing outside."""
    windows = [(t, l, h, w) for h, w in ((1, 1), (20, 11), (1, 9), (13, 1))
               for t in (0, 3, 40 - h) for l in (0, 4, 30 - w)]  # fmt: skip
    for bicubic in (False, True):
        plan = make_plan([(40, 30)], windows, size_px=13, bicubic=bicubic, flip=True, hue=0.1)
        assert worst_error(FusedBackend(), [make_image(40, 30)], plan) < TOLERANCE


def test_a_window_sees_only_itself() -> None:
    """White around a black window does not bleed in."""
    image = torch.full((30, 30, 3), 255, dtype=torch.uint8)
    image[10:20, 10:20] = 0
    plan = make_plan([(30, 30)], [(10, 10, 10, 10)], size_px=23, bicubic=True)
    (views,) = FusedBackend()([image], replace(plan, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert views.abs().max() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "size_px"), [(1500, 10), pytest.param(6000, 40, marks=pytest.mark.long)]
)
def test_a_large_image(width: int, size_px: int) -> None:
    """Up to 6000 x 4000 pixels shrink to one small view: hundreds of taps in both directions."""
    size = (width * 2 // 3, width)
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8))
    plan = make_plan([size], size_px=size_px)
    assert worst_error(FusedBackend(), [image], plan) < TOLERANCE


def test_a_gray_image_stays_gray_under_hue_and_saturation() -> None:
    """Pixels without colour have no hue to turn: no division by zero, no tint."""
    levels = torch.arange(256, dtype=torch.uint8).reshape(16, 16, 1).expand(16, 16, 3)
    plan = make_plan([(16, 16)], size_px=16, hue=0.37, saturation=1.7)
    (views,) = FusedBackend()([levels], replace(plan, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert (views - views[:, :, :1]).abs().max() < 1e-6


def test_identity_is_every_level() -> None:
    """A plan that asks for nothing gives back level / 255, to the last bit of float32 but one."""
    image = torch.arange(768, dtype=torch.int32).remainder(256).to(torch.uint8).reshape(16, 16, 3)
    plan = replace(make_plan([(16, 16)], size_px=16), mean=(0.0,) * 3, std=(1.0,) * 3)
    (views,) = FusedBackend()([image], plan)
    assert torch.allclose(views[0, 0], image.permute(2, 0, 1) / 255, rtol=2e-7, atol=0)


def test_solarize_reaches_its_threshold_as_integers_do() -> None:
    """Level 128 is inverted at 128/255 and level 127 is not, however 1/255 rounds."""
    image = torch.tensor([127, 128], dtype=torch.uint8).reshape(2, 1, 1).expand(2, 2, 3)
    plan = make_plan([(2, 2)], size_px=2, kernel_px=1, solarize=SOLARIZE_THRESHOLD)
    (views,) = FusedBackend()([image], replace(plan, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert torch.equal((views[0, 0, 0, :, 0] * 255).round(), torch.tensor([127.0, 127.0]))


@pytest.mark.parametrize("name", policy_names())
def test_published_policies(name: str) -> None:
    """Whole drawn plans of every published policy give the reference's views."""
    policy = load_policy(name).with_views((2, 3), (64, 40))
    sizes = [(90, 120), (71, 50), (33, 200)]
    plan = draw_plan(policy, np.arange(3), np.arange(3), np.array(sizes), seed=5)
    images = [make_image(*size, seed) for seed, size in enumerate(sizes)]
    assert worst_error(FusedBackend(num_threads=2), images, plan) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_float32_rounded_to_nearest(dtype: torch.dtype) -> None:
    """The 16-bit views are the float32 ones, rounded as torch rounds, bit by bit."""
    sizes = np.array([(60, 80), (50, 41)])
    plan = draw_plan(load_policy("swav"), np.arange(2), np.zeros(2), sizes, seed=1)
    images = [make_image(*size) for size in sizes.tolist()]
    exact = FusedBackend()(images, plan)
    rounded = FusedBackend(dtype=dtype)(images, plan)
    for a, b in zip(exact, rounded, strict=True):
        assert torch.equal(a.to(dtype), b)


def test_threads_and_batches_change_no_bit() -> None:
    """The same rows give the same bits on 1, 2 and 4 threads, alone and in any batch."""
    sizes = np.array([(60 + 7 * b, 90 - 3 * b) for b in range(6)])
    policy = load_policy("byol").with_views((2, 2), (48, 33))
    plan = draw_plan(policy, np.arange(6), np.zeros(6), sizes, seed=2)
    images = [make_image(*size, seed=b) for b, size in enumerate(sizes.tolist())]
    expected = FusedBackend()(images, plan)
    for num_threads in (2, 4):
        for a, b in zip(expected, FusedBackend(num_threads=num_threads)(images, plan), strict=True):
            assert torch.equal(a, b)
    for rows in ([3], [5, 0, 3]):
        some = FusedBackend()([images[row] for row in rows], plan.rows(np.array(rows)))
        for a, b in zip(expected, some, strict=True):
            assert torch.equal(a[:, rows], b)


def test_layout() -> None:
    """One [V, B, C, S, S] tensor a crop group; a backbone's batch needs no copy."""
    sizes = np.array([(40, 50)] * 3)
    policy = load_policy("swav").with_views((2, 3), (32, 17))
    plan = draw_plan(policy, np.arange(3), np.zeros(3), sizes, seed=0)
    views = FusedBackend()([make_image(40, 50)] * 3, plan)
    assert [tuple(group.shape) for group in views] == [(2, 3, 3, 32, 32), (3, 3, 3, 17, 17)]
    for group in views:
        flat = group.flatten(0, 1)
        assert flat.data_ptr() == group.data_ptr()
        assert flat.is_contiguous(memory_format=torch.channels_last)


def test_no_images_are_no_views() -> None:
    """An empty batch gives empty tensors of the right shape."""
    plan = make_plan([(20, 30)] * 2).rows(slice(0, 0))
    (views,) = FusedBackend(num_threads=2)([], plan)
    assert tuple(views.shape) == (1, 0, 3, 16, 16)


def test_an_image_may_be_a_strided_view() -> None:
    """An image cut from a larger one is read as what it shows, not as what lies in memory."""
    whole = make_image(40, 60)
    part = whole[5:35, 10:50]
    plan = make_plan([(30, 40)], size_px=20)
    assert worst_error(FusedBackend(), [part], plan) < TOLERANCE


def test_one_backend_for_several_callers() -> None:
    """Loader workers share a backend: calls at the same time do not disturb each other."""
    policy = load_policy("simclr").with_views((2,), (40,))
    images = [make_image(70, 60, seed) for seed in range(4)]
    plans = [
        draw_plan(policy, np.arange(4), np.full(4, e), np.array([(70, 60)] * 4), 0)
        for e in range(8)
    ]
    for num_threads in (1, 2):
        backend = FusedBackend(num_threads=num_threads)
        with ThreadPoolExecutor(4) as pool:
            views = list(pool.map(backend, [images] * 32, plans * 4))
        for plan, found in zip(plans * 4, views, strict=True):
            assert torch.equal(found[0], FusedBackend()(images, plan)[0])


def test_memory_stays_flat() -> None:
    """Two hundred batches need no more memory than the first ten."""
    policy = load_policy("swav").with_views((2, 2), (96, 48))
    images = [make_image(150, 200)] * 8
    backend = FusedBackend(num_threads=2)
    peaks = []
    for epoch in range(210):
        plan = draw_plan(policy, np.arange(8), np.full(8, epoch), np.array([(150, 200)] * 8), 0)
        backend(images, plan)
        if epoch in (9, 209):
            gc.collect()
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB
    assert peaks[1] - peaks[0] < 4 * 1024


def test_wrong_images_are_refused() -> None:
    """Images of another size, type or number than the plan's never reach the kernel."""
    plan = make_plan([(20, 30)])
    for wrong in (
        [make_image(20, 31)],
        [make_image(20, 30).float()],
        [make_image(20, 30)[..., :2]],
        [make_image(20, 30)] * 2,
        [],
    ):
        with pytest.raises(ValueError, match="plan"):
            FusedBackend()(wrong, plan)


def test_what_it_cannot_do_is_said() -> None:
    """CUDA, float64 and no threads are refused with what to do instead."""
    with pytest.raises(UsageError, match="create_backend"):
        FusedBackend("cuda")
    with pytest.raises(UsageError, match="float16"):
        FusedBackend(dtype=torch.float64)
    with pytest.raises(UsageError, match="at least 1"):
        FusedBackend(num_threads=0)
