"""Views of images in memory are those that a loader of shards makes under the same ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_loader import CPU, ReferenceBackend, open_bytes
from torch.utils.data import DataLoader

import augengine
from augengine.backends.create_backend import backends_on, create_backend
from augengine.decoders.create_decoder import create_decoder
from augengine.views import Views
from shards.errors import UsageError
from shards.index import ShardIndex

SMALL = {"views": "2+1", "sizes": "16+8", "device": "cpu"}


def images_of(count: int) -> list[np.ndarray]:
    """Of unlike sizes."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 60, (count, 2)).tolist()
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def assert_same(left: Views, right: Views) -> None:
    assert left.plan.digest() == right.plan.digest()
    assert all(torch.equal(a, b) for a, b in zip(left.crops, right.crops, strict=True))


@pytest.mark.parametrize("backend", backends_on(CPU))
def test_they_are_the_views_of_a_loader(shard_folder: Path, backend: str) -> None:
    """Image by image of the same pixels, bit for bit, in a later epoch too."""
    index = ShardIndex.open(shard_folder)
    with augengine.open_views(
        index, "swav", **SMALL, batch_size=37, seed=5, backend=backend, decoder="pillow"
    ) as loader:
        batches = [next(loader) for _ in range(2)]
    decode = create_decoder("pillow", CPU)
    for epoch, views in enumerate(batches):
        images = decode([open_bytes(index, int(id)) for id in views.ids])
        again = augengine.make_views(
            images, "swav", **SMALL, ids=views.ids, epoch=epoch, seed=5, backend=backend
        )
        assert_same(again, views)
        assert again.labels.tolist() == [-1] * 37


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        Image.fromarray,
        lambda pixels: np.asfortranarray(pixels),
        lambda pixels: pixels[::-1].copy()[::-1],
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).contiguous().permute(1, 2, 0),
        lambda pixels: np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape),
    ],
    ids=["tensor", "pillow", "fortran", "backwards", "permuted", "read-only"],
)
def test_an_image_is_whatever_holds_its_pixels(convert: Any) -> None:
    """Arrays and tensors of any layout, and Pillow's images; the caller's are not written to."""
    images = images_of(3)
    before = [pixels.copy() for pixels in images]
    found = augengine.make_views([convert(pixels) for pixels in images], "byol", **SMALL)
    assert_same(found, augengine.make_views(before, "byol", **SMALL))
    assert all(np.array_equal(a, b) for a, b in zip(images, before, strict=True))


def test_a_batch_is_its_images() -> None:
    """[B, H, W, 3] as an array or a tensor is the list of its rows."""
    batch = np.stack([images_of(1)[0]] * 3)
    expected = augengine.make_views(list(batch), "simclr", **SMALL)
    for form in (batch, torch.from_numpy(batch)):
        assert_same(augengine.make_views(form, "simclr", **SMALL), expected)


def test_a_view_depends_on_its_id_and_epoch_alone() -> None:
    """Not on the rest of the batch; another id, epoch or seed is another view."""
    images = images_of(4)

    def make(rows: list[int], **changes: Any) -> Views:
        ids = [10 + row for row in rows]
        given: dict[str, Any] = {"ids": ids, "epoch": 2, "seed": 1, **SMALL, **changes}
        return augengine.make_views([images[row] for row in rows], "swav", **given)

    whole, part = make([0, 1, 2, 3]), make([2, 0])
    for group, crops in enumerate(part.crops):
        assert torch.equal(crops[:, 0], whole.crops[group][:, 2])
        assert torch.equal(crops[:, 1], whole.crops[group][:, 0])
    for changes in ({"ids": [13, 11]}, {"epoch": 3}, {"seed": 2}):
        assert make([2, 0], **changes).plan.digest() != part.plan.digest()
    counted = make([0, 1], ids=None).plan.ids
    assert counted.tolist() == [0, 1]


class _Images(torch.utils.data.Dataset):
    """Eight images, each with its number."""

    def __init__(self) -> None:
        self.images = images_of(8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[int, np.ndarray]:
        return number, self.images[number]


def _collate(samples: list[tuple[int, np.ndarray]]) -> torch.Tensor:
    ids, images = zip(*samples, strict=True)
    return augengine.make_views(images, "simclr", **SMALL, ids=ids).crops[0]


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_dataloader_of_ones_own_may_make_them() -> None:
    """In its workers, as `collate_fn`: the views of a plain call."""
    augengine.make_views(images_of(1), "simclr", **SMALL)  # what is forked has made views before
    loader = DataLoader(
        _Images(), 4, collate_fn=_collate, num_workers=2, multiprocessing_context="fork"
    )
    found = torch.cat(list(loader), dim=1)
    assert torch.equal(found, augengine.make_views(images_of(8), "simclr", **SMALL).crops[0])


def test_a_backend_is_a_name_or_an_object() -> None:
    """One object for many calls gives what its name gives."""
    images, settings = images_of(2), {"views": "2+1", "sizes": "16+8"}
    expected = augengine.make_views(images, "swav", **SMALL, backend="fused")
    made = create_backend("fused", CPU)
    for _ in range(2):
        assert_same(augengine.make_views(images, "swav", **settings, backend=made), expected)
    slow = augengine.make_views(images, "swav", **settings, backend=ReferenceBackend())
    assert torch.allclose(slow.crops[0], expected.crops[0], atol=0.05)


@pytest.mark.gpu
def test_on_a_gpu_they_lie_where_they_are_made() -> None:
    """Images of the host and of the GPU give the same views there."""
    images = images_of(3)
    settings = {"views": "2+1", "sizes": "16+8"}
    there = [torch.from_numpy(pixels).cuda() for pixels in images]
    found = augengine.make_views(there, "swav", **settings)
    assert found.crops[0].device.type == "cuda"
    assert_same(augengine.make_views(images, "swav", **settings, device="cuda"), found)


ONE = np.zeros((8, 9, 3), np.uint8)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"images": []}, "at least one image"),
    ({"images": ONE}, "got [8, 9, 3] uint8; write [image]"),
    ({"images": "photos"}, "got str"),
    ({"images": [ONE, ONE.astype(np.float32)]}, "got [8, 9, 3] float32 for image 1"),
    ({"images": [torch.zeros(3, 8, 9, dtype=torch.uint8)]}, "got [3, 8, 9] uint8"),
    ({"images": [ONE[..., 0]]}, "got [8, 9] uint8"),
    ({"images": [ONE[:0]]}, "got [0, 9, 3] uint8"),
    ({"images": [Image.new("RGBA", (4, 4))]}, "got [4, 4, 4] uint8"),
    ({"images": [None]}, "got NoneType"),
    ({"images": [[[1], [2, 3]]]}, "got list"),
    ({"ids": [1, 2]}, "ids are 1 whole numbers"),
    ({"ids": [1.5]}, "ids are 1 whole numbers"),
    ({"ids": [-1]}, "ids lie in [0, 2^63), got -1"),
    ({"ids": np.array([2**63], np.uint64)}, "ids lie in [0, 2^63), got 9223372036854775808"),
    ({"epoch": -1}, "epoch lies in [0, 2^32)"),
    ({"epoch": 1.0}, "epoch is a whole number"),
    ({"seed": -1}, "a seed is an integer"),
    ({"policy": "swv"}, "did you mean 'swav'"),
    ({"views": "2-1"}, "joined by +"),
    ({"backend": None}, "a backend is one of auto"),
    ({"device": "gpu"}, "a device is cpu"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_what_cannot_be_is_one_line(wrong: dict[str, Any], words: str) -> None:
    """Rule, value and remedy."""
    given = {"images": [ONE], "policy": "swav", **SMALL, **wrong}
    with pytest.raises(UsageError) as caught:
        augengine.make_views(given.pop("images"), given.pop("policy"), **given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
