"""What every backend promises beside the picture: layout, independence, errors, names."""

import sys

import numpy as np
import pytest
import torch
from parity_cases import NUM_VIEWS, hard_images, neutral_plan, op_changes, photographs

from augengine.backends.backend import Backend
from augengine.backends.create_backend import BACKENDS, create_backend
from augengine.plan import Plan
from shards.errors import UsageError
from shards.plugins.find import check_name

IMAGES = photographs()[:3] + hard_images()[2:5]
TENSORS = [torch.from_numpy(image) for image in IMAGES]


@pytest.fixture(scope="module", params=["dali", "kornia", "fused"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def backend(name: str) -> Backend:
    return create_backend(name, "cpu", num_threads=1)


def busy_plan() -> Plan:
    """Every op on some views of every image."""
    rng = np.random.default_rng(5)
    shape = (len(IMAGES), NUM_VIEWS)
    changes = op_changes("jitter", len(IMAGES))
    for name in ("gray", "flip"):
        changes[name] = rng.uniform(size=shape) < 0.3
    changes["sigma"] = np.where(rng.uniform(size=shape) < 0.5, 1.3, 0)
    changes["solarize"] = np.where(rng.uniform(size=shape) < 0.3, 0.5, 2)
    return neutral_plan(IMAGES, **changes)


def test_one_flatten_gives_the_backbones_batch(backend: Backend) -> None:
    """[V, B, C, S, S] per group; flattened it is a view, channels_last."""
    crops = backend(TENSORS, busy_plan())
    assert [tuple(c.shape) for c in crops] == [(2, 6, 3, 48, 48), (3, 6, 3, 7, 7)]
    for crop in crops:
        flat = crop.flatten(0, 1)
        assert flat.data_ptr() == crop.data_ptr()
        assert flat.is_contiguous(memory_format=torch.channels_last)


def test_threads_change_no_bit(name: str, backend: Backend) -> None:
    """1 and 4 threads give equal views."""
    plan = busy_plan()
    four = create_backend(name, "cpu", num_threads=4)
    for one, other in zip(backend(TENSORS, plan), four(TENSORS, plan), strict=True):
        assert torch.equal(one, other)


def test_the_batch_changes_no_bit(backend: Backend) -> None:
    """A batch of six, its halves, and one by one, give equal views, also after larger batches."""
    plan = busy_plan()
    whole = backend(TENSORS, plan)
    for size in (1, 3):
        parts = [
            backend(TENSORS[i : i + size], plan.rows(slice(i, i + size))) for i in range(0, 6, size)
        ]
        for group, crop in enumerate(whole):
            assert torch.equal(crop, torch.cat([part[group] for part in parts], dim=1))


def test_results_stay_when_the_next_batch_is_made(backend: Backend) -> None:
    """A returned tensor is the caller's: later batches do not write into it."""
    plan = busy_plan()
    first = backend(TENSORS, plan)
    copies = [crop.clone() for crop in first]
    for _ in range(3):
        backend(TENSORS[:2], plan.rows(slice(0, 2)))
    assert all(torch.equal(crop, copy) for crop, copy in zip(first, copies, strict=True))


def test_images_are_left_alone(backend: Backend) -> None:
    """The decoded images may be shared or cached: they are read only."""
    copies = [image.clone() for image in TENSORS]
    backend(TENSORS, busy_plan())
    assert all(torch.equal(image, copy) for image, copy in zip(TENSORS, copies, strict=True))


def test_no_output_is_left_unwritten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `torch.empty` poisoned by NaN, every pixel of every view is finite."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: empty(*a, **k).fill_(float("nan")))
    for crop in create_backend(name, "cpu", num_threads=2)(TENSORS, busy_plan()):
        assert crop.isfinite().all()


@pytest.mark.parametrize(("dtype", "step"), [(torch.float16, 2**-10), (torch.bfloat16, 2**-7)])
def test_half_precision_is_the_rounded_view(name: str, dtype: torch.dtype, step: float) -> None:
    """float16 and bfloat16 views are the float32 ones, rounded once."""
    plan = busy_plan()
    exact = create_backend(name, "cpu")(TENSORS, plan)
    for crop, truth in zip(create_backend(name, "cpu", dtype)(TENSORS, plan), exact, strict=True):
        assert crop.dtype == dtype
        assert ((crop.float() - truth).abs() <= step * truth.abs().clamp(min=1)).all()


def test_many_views_run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """DALI's bounded runs, down to one sample a run, give the views of one long run."""
    from augengine.backends import dali

    plan = busy_plan()
    whole = create_backend("dali", "cpu")(TENSORS, plan)
    for num_bytes in (1, 48 * 48 * 12 * 5):
        monkeypatch.setattr(dali, "_RUN_BYTES", {"cpu": num_bytes})
        pieces = create_backend("dali", "cpu")(TENSORS, plan)
        assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))


@pytest.mark.parametrize("damage", ["count", "size", "dtype"])
def test_images_that_are_not_the_plans_are_refused(backend: Backend, damage: str) -> None:
    """A wrong picture is never made in silence: the message says what was expected."""
    plan, images = busy_plan(), list(TENSORS)
    if damage == "count":
        images.pop()
    elif damage == "size":
        images[1] = images[1][:-1]
    else:
        images[0] = images[0].float()
    with pytest.raises(ValueError, match="got"):
        backend(images, plan)


def test_unknown_names_list_the_backends() -> None:
    """A wrong --backend is answered with the right ones."""
    with pytest.raises(
        UsageError,
        match=r"unknown backend 'torchvision'; known: auto, fused, dali, kornia, package",
    ):
        create_backend("torchvision", "cpu")
    assert tuple(BACKENDS) == ("fused", "dali", "kornia")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps"])
def test_a_device_that_is_none_is_one_line(device: str) -> None:
    """Whether torch knows its name or not."""
    with pytest.raises(UsageError, match=f"cpu.* got .*{device}"):
        create_backend("fused", device)


def test_the_reference_is_none_and_says_why() -> None:
    """It has the name elsewhere, where one view is made: which ones there are, and where it is."""
    said = r"unknown backend 'reference'; the reference makes one view .* known: auto, fused, dali"
    with pytest.raises(UsageError, match=said) as error:
        create_backend("reference", "cpu")
    assert "tools.show_views --backend reference" in str(error.value)
    with pytest.raises(UsageError, match="known: a, package") as error:
        check_name("decoders", "reference", {"a": "x:y"})
    assert "one view" not in str(error.value)


def test_auto_names_its_choice() -> None:
    """`auto` gives a backend that says which it is."""
    assert create_backend("auto", "cpu").name in BACKENDS


def test_dali_is_asked_for_by_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DALI, `dali` is a usage error that says how to get it, and `auto` still works."""
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.setattr("augengine.devices.installed.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install nvidia-dali-cuda120"):
        create_backend("dali", "cpu")
    assert create_backend("auto", "cpu").name == "fused"


def test_fused_is_asked_for_by_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numba, `fused` is a usage error that says how to get it, and `auto` still works."""
    monkeypatch.setattr("augengine.backends.create_backend.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install numba"):
        create_backend("fused", "cpu")
    assert create_backend("auto", "cpu").name == "kornia"


@pytest.mark.parametrize(
    "arguments", [{"device": "mps"}, {"device": "cpu", "num_threads": 0}, {"dtype": torch.int32}]
)
def test_impossible_requests_are_usage_errors(arguments: dict) -> None:
    """A device, a thread count or a dtype that cannot be, is said in one line."""
    with pytest.raises(UsageError, match="got"):
        create_backend("kornia", **({"device": "cpu"} | arguments))
