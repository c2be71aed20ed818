"""The fused backend on a GPU: what the interpreter cannot show. Parity: backends/test_parity.py."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is there on Linux only")
from gpu_interpreted import OPS, picture, plan_of
from tolerances import BOUNDS, FLOAT16, FLOAT32, Bound

from augengine.backends import fused_cuda
from augengine.backends.fused_cuda import FusedCudaBackend
from augengine.draw import draw_plan
from augengine.plan import Plan
from augengine.policies import load_policy, policy_names
from augengine.reference import render

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every view starts as NaN; without a GPU nothing runs."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    empty = torch.empty

    def poisoned(*shape, **options) -> torch.Tensor:
        tensor = empty(*shape, **options)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch, "empty", poisoned)
    yield
    torch.cuda.synchronize()


def drawn(name: str, count: int, views: tuple[int, ...] = (2, 6), epoch: int = 0) -> Plan:
    """A plan of a published policy in full size for `images(count)`."""
    policy = load_policy(name)
    policy = policy.with_views(views[: len(policy.groups)])
    sizes = np.array([image.shape[:2] for image in images(count)])
    return draw_plan(policy, np.arange(count), np.full(count, epoch), sizes, seed=3)


def images(count: int) -> list[torch.Tensor]:
    """Pictures of about 500 x 375 pixels on the GPU."""
    return [picture(300 + 13 * seed, 420 - 7 * seed, seed).cuda() for seed in range(count)]


def check(crops: tuple[torch.Tensor, ...], sources: list, plan: Plan, bound: Bound) -> None:
    """All views against the reference."""
    std = np.array(plan.std)[:, None, None] * 255
    for group, crop in zip(plan.groups, crops, strict=True):
        for v, view in zip(group, crop.float().cpu().numpy(), strict=True):
            for b, image in enumerate(sources):
                error = np.abs(view[b] - render(image.cpu().numpy(), plan, b, v)) * std
                assert error.mean() <= bound.mean, (b, v)
                assert error.max() <= bound.max, (b, v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", policy_names())
def test_policies_in_full_size(name: str, dtype: torch.dtype) -> None:
    """224 and 96 pixels, so that several tiles, programs and multiprocessors have a part."""
    sources, plan = images(3), drawn(name, 3)
    bound = BOUNDS["policy"]["fused"]  # also of float16: up to a level at solarize's threshold
    check(FusedCudaBackend("cuda", dtype)(sources, plan), sources, plan, bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_large_image(dtype: torch.dtype) -> None:
    """6000 x 4000 pixels shrink to small views: hundreds of taps, addresses far apart."""
    rng = np.random.default_rng(1)
    sources = [torch.from_numpy(rng.integers(0, 256, (4000, 6000, 3), np.uint8)).cuda()]
    views = [{"size_px": 224}, {"size_px": 40, "bicubic": True}]
    plan = plan_of(sources, [*views, {"size_px": 40, "window": (3990, 5984, 10, 16)}])
    bound = FLOAT32 if dtype == torch.float32 else FLOAT16
    check(FusedCudaBackend("cuda", dtype)(sources, plan), sources, plan, bound)


def test_an_image_may_begin_and_end_anywhere() -> None:
    """Images one after the other in one buffer, as decoders leave them, at odd addresses."""
    pictures = [picture(21 + seed, 18 - seed, seed) for seed in range(4)]
    buffer = torch.cat([p.flatten() for p in pictures]).cuda()
    starts = np.cumsum([0] + [p.numel() for p in pictures])
    sources = [
        buffer[s:][: p.numel()].view(p.shape) for s, p in zip(starts, pictures, strict=False)
    ]
    assert len({source.data_ptr() % 4 for source in sources}) > 1
    plan = plan_of(sources, [{**fields, "size_px": 33} for fields in OPS.values()])
    check(FusedCudaBackend("cuda")(sources, plan), sources, plan, BOUNDS["solarize"]["fused"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_batch_and_its_pieces_change_no_bit(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again, one by one, and in pieces for want of scratch: the same bits."""
    sources, plan, backend = images(5), drawn("byol", 5), FusedCudaBackend("cuda", dtype)
    whole = backend(sources, plan)
    again = backend(sources, plan)
    alone = [backend([sources[b]], plan.rows(slice(b, b + 1))) for b in range(5)]
    monkeypatch.setattr(fused_cuda, "SCRATCH_BYTES", 3 << 20)
    pieces = backend(sources, plan)
    for group, crop in enumerate(whole):
        assert torch.equal(crop, again[group])
        assert torch.equal(crop, pieces[group])
        assert torch.equal(crop, torch.cat([part[group] for part in alone], dim=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_exact_halves_are_float32_rounded_to_nearest(dtype: torch.dtype) -> None:
    """16-bit views of the exact form are the float32 ones, rounded as torch rounds, bit by bit."""
    sources, plan = images(3), drawn("swav", 3)
    exact = FusedCudaBackend("cuda")(sources, plan)
    rounded = FusedCudaBackend("cuda", dtype, exact=True)
    for a, b in zip(exact, rounded(sources, plan), strict=True):
        assert torch.equal(a.to(dtype), b)


def test_several_callers_on_streams_of_their_own() -> None:
    """Loader workers share a backend: calls at the same time do not disturb each other."""
    sources, backend = images(4), FusedCudaBackend("cuda")
    plans = [drawn("swav", 4, epoch=epoch) for epoch in range(8)]
    expected = [backend(sources, plan) for plan in plans]
    torch.cuda.synchronize()

    def call(number: int) -> tuple[torch.Tensor, ...]:
        with torch.cuda.stream(torch.cuda.Stream()):
            crops = backend(sources, plans[number % 8])
            torch.cuda.current_stream().synchronize()
        return crops

    with ThreadPoolExecutor(4) as pool:
        for number, crops in enumerate(pool.map(call, range(40))):
            for found, truth in zip(crops, expected[number % 8], strict=True):
                assert torch.equal(found, truth)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_nothing_waits_for_the_gpu() -> None:
    """Torch counts it as an error when the host waits; the first call compiles and allocates."""
    sources, plan, backend = images(4), drawn("swav", 4), FusedCudaBackend("cuda")
    backend(sources, plan)
    torch.cuda.set_sync_debug_mode("error")
    try:
        backend(sources, plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_stays_flat() -> None:
    """Two hundred batches reserve no more memory than the first twenty."""
    sources, backend = images(8), FusedCudaBackend("cuda", torch.bfloat16)
    reserved = []
    for epoch in range(200):
        backend(sources, drawn("swav", 8, epoch=epoch % 20))
        if epoch in (19, 199):
            reserved.append(torch.cuda.memory_reserved())
    assert reserved[1] == reserved[0]
