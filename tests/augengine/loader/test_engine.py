"""A backend and a decoder are objects or names; a name means what it means to the trainer."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_loader import POLICY, ReferenceBackend, assert_equal_views

from augengine.backends.create_backend import BACKENDS, backends_on, create_backend
from augengine.decoders.create_decoder import DECODERS, create_decoder
from augengine.devices.streams import numbered
from augengine.loader.batches import BatchMaker
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from augengine.loader.meter import Meter
from augengine.loader.view_loader import ViewLoader
from shards.errors import UsageError
from shards.index import ShardIndex

CPU = torch.device("cpu")
NAMES = ["auto", *backends_on(CPU)]


@pytest.fixture
def index(shard_folder: Path) -> ShardIndex:
    return ShardIndex.open(shard_folder)


def take(index: ShardIndex, count: int = 2, **engine: Any) -> list:
    with ViewLoader(index, POLICY, batch_size=8, seed=3, **engine) as loader:
        return [next(loader) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_gives_what_the_trainer_makes_of_it(index: ShardIndex, name: str) -> None:
    """Bit for bit, whichever of the two is named."""
    made = {
        "backend": create_backend(name, CPU, num_threads=2),
        "decoder": create_decoder("auto", CPU, num_threads=2),
    }
    expected = take(index, **made)
    assert_equal_views(take(index, backend=name, decoder="auto", device="cpu"), expected)
    assert_equal_views(take(index, backend=name, decoder=made["decoder"], device="cpu"), expected)
    assert_equal_views(take(index, backend=made["backend"], decoder="auto"), expected)


def test_nothing_need_be_said(index: ShardIndex) -> None:
    """Without a word it is auto, for training and for evaluation."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert_equal_views(take(index), take(index, backend="auto", decoder="auto", device=device))
    ids = [views.ids for views in iter_listed_views(index, CenterSquare(8), 16)]
    assert np.concatenate(ids).tolist() == list(range(37))
    named = iter_listed_views(
        index, CenterSquare(8), 16, backend="kornia", decoder="pillow", device="cpu"
    )
    assert sum(views.batch_size for views in named) == 37


@pytest.mark.parametrize("what", ["backend", "decoder"])
@pytest.mark.parametrize("given", ["fusd", "", "FUSED", None, 3, ReferenceBackend, b"auto"])
def test_what_is_neither_is_one_line(index: ShardIndex, what: str, given: object) -> None:
    """Rule, value, and what to write."""
    names = BACKENDS if what == "backend" else DECODERS
    with pytest.raises(UsageError) as caught:
        take(index, **{what: given, "device": "cpu"})
    message = str(caught.value)
    assert "\n" not in message
    assert what in message
    assert all(name in message for name in ("auto", *names, repr(given)))
    with pytest.raises(UsageError, match="auto"):
        next(iter_listed_views(index, CenterSquare(8), 16, **{what: given}))  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["gpu", "cuda:x", 1.5, "mps"])
def test_a_device_is_one_that_there_is(index: ShardIndex, device: Any) -> None:
    """One line too."""
    with pytest.raises(UsageError, match="cpu"):
        take(index, device=device)


def test_a_device_is_numbered_where_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that starts later would take cuda for the first GPU."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert numbered(torch.device("cuda")) == torch.device("cuda", 3)
    assert numbered(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert numbered(CPU) == CPU


def test_every_thread_works_on_its_backends_gpu(
    index: ShardIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sets it before anything else, on itself: the setting belongs to a thread."""
    done: list[tuple[str, torch.device, str]] = []

    def note(what: str) -> Any:
        def called(device: torch.device) -> Any:
            done.append((what, device, threading.current_thread().name))
            if what == "stream":
                raise RuntimeError("there is no GPU here")

        return called

    monkeypatch.setattr(torch.cuda, "set_device", note("set_device"))
    monkeypatch.setattr(torch.cuda, "Stream", note("stream"))
    backend: Any = ReferenceBackend()
    backend.device = torch.device("cuda", 5)
    loader = ViewLoader(
        index,
        POLICY,
        batch_size=8,
        seed=3,
        backend=backend,
        decoder=create_decoder("pillow", CPU),
        num_workers=1,
    )
    with loader, pytest.raises(RuntimeError, match="no GPU here"):
        next(loader)
    five = torch.device("cuda", 5)
    assert done == [("set_device", five, "views-0"), ("stream", five, "views-0")]


def test_a_cpu_backend_touches_no_gpu(index: ShardIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by asking."""
    monkeypatch.setattr(torch.cuda, "set_device", None)
    BatchMaker(index, None, None, None, ReferenceBackend(), Meter())  # type: ignore[arg-type]
