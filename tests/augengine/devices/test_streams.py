"""The order of what a worker does on a GPU's stream, seen on stand-ins that write calls down."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from augengine.devices.streams import borrow_stream, upload
from augengine.loader.ahead import Ahead
from augengine.loader.bad_samples import BadSamples
from augengine.loader.batches import Batch, BatchMaker
from augengine.loader.center_plan import center_plan
from augengine.loader.deliver import deliver
from augengine.loader.meter import Meter
from augengine.loader.samples import Drawn
from augengine.views import Views
from shards.cursor import Cursor
from shards.format import INDEX_DTYPE

CUDA = torch.device("cuda", 0)
DRAWN = Drawn(np.zeros(2, int), np.arange(2), Cursor(2))
SIZES = np.full((2, 2), 8)
RECORDS = np.zeros(2, INDEX_DTYPE)


class Image:
    """Half of a tensor: where it is, how it got there, and when it is dropped."""

    def __init__(self, calls: list[str], device: str = "cpu", pinned: bool = False) -> None:
        self.calls, self.device, self.pinned = calls, torch.device(device), pinned

    def pin_memory(self) -> "Image":
        self.calls.append("pin")
        return Image(self.calls, pinned=True)

    def to(self, device: torch.device, *, non_blocking: bool) -> "Image":
        assert self.pinned
        assert non_blocking
        self.calls.append("copy")
        return Image(self.calls, str(device))

    def __del__(self) -> None:
        if self.device.type == "cuda":
            self.calls.append("dropped")


class Stream:
    """A side stream, as its own context and event."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def __enter__(self) -> None:
        self.calls.append("on the stream")

    def __exit__(self, *_: object) -> None:
        self.calls.append("off the stream")

    def record(self, stream: object) -> None:
        assert stream is self
        self.calls.append("record")

    def synchronize(self) -> None:
        self.calls.append("wait")


class Holder:
    """Whoever needs a stream."""


def plan_of(ids: np.ndarray, *_: object) -> Any:
    return center_plan(ids, SIZES, 4)


def test_a_worker_waits_for_its_kernels_before_it_drops_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Uploaded, augmented and awaited on one side stream; the images live until then."""
    calls: list[str] = []
    stream = Stream(calls)
    monkeypatch.setattr("augengine.devices.streams._IDLE", {})
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(f"on {device}"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda chosen: chosen)
    monkeypatch.setattr(torch.cuda, "Event", lambda blocking: stream)

    def augment(images: list[Image], plan: object) -> tuple[torch.Tensor, ...]:
        assert all(image.device == CUDA for image in images)
        calls.append("augment")
        return (torch.zeros(1, 2, 3, 4, 4),)

    augment.device = CUDA
    index: Any = SimpleNamespace(rows=lambda ids: RECORDS)
    samples: Any = SimpleNamespace(batch=lambda _: DRAWN, order=None)
    source: Any = SimpleNamespace(load=lambda ids, records: [Image(calls) for _ in ids])
    make = BatchMaker(index, samples, source, plan_of, augment, Meter())  # pyright: ignore
    batch = make(0)
    assert batch.views is not None
    assert calls == [
        *(f"on {CUDA}", "on the stream", "pin", "copy", "pin", "copy", "augment", "record", "wait"),
        *("dropped", "dropped", "off the stream"),
    ]


def test_views_are_kept_for_the_consumers_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory is the worker's: torch is told who else uses it, on the device they lie on."""
    told: list[tuple[str, torch.device]] = []
    crops: Any = SimpleNamespace(
        is_cuda=True,
        device=CUDA,
        ndim=5,
        shape=(1, 2, 3, 4, 4),
        record_stream=lambda stream: told.append(stream),
    )
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("consumer's", device))
    ids = np.arange(2)
    views = Views((crops,), ids, np.zeros(2, np.int32), plan_of(ids))
    batches: Ahead[Batch] = Ahead(lambda: lambda _: Batch(views, (), 2), num_workers=1, prefetch=1)
    assert deliver(batches, BadSamples(), Meter()) is views
    batches.close()
    assert told == [("consumer's", CUDA)]


def test_an_upload_is_awaited_by_nobody() -> None:
    """To a GPU from pinned memory; on the host there is nothing to pin."""
    calls: list[str] = []
    image: Any = Image(calls)
    assert upload(image, CUDA).device == CUDA
    assert calls[:2] == ["pin", "copy"]
    tensor = torch.arange(3)
    assert upload(tensor, torch.device("cpu")) is tensor


def test_a_stream_is_one_holders_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two share one, and those of holders that are gone are used again before new ones."""
    monkeypatch.setattr("augengine.devices.streams._IDLE", {})
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: object())
    first, second = Holder(), Holder()
    streams = [borrow_stream(CUDA, holder) for holder in (first, second)]
    assert streams[0] is not streams[1]
    other = torch.device("cuda", 1)
    del first
    third = Holder()
    assert borrow_stream(other, third) is not streams[0]
    assert borrow_stream(CUDA, third) is streams[0]
    assert borrow_stream(CUDA, third) not in streams
