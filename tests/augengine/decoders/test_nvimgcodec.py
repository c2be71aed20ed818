"""nvImageCodec asked directly: one call a piece, no image kept, and what a GPU's codec is told."""

import contextlib
import gc
import weakref
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from test_decode import BAD, GOOD, ODD, PLAIN, PNG

from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.tuning import ALL, NONE, WorkSplit
from shards.errors import UsageError

nvimgcodec_decoder = pytest.importorskip("augengine.decoders.nvimgcodec_decoder")
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Watched:
    """A codec that counts what it is asked, and knows the images that it gave."""

    def __init__(self, codec: Any) -> None:
        self.codec = codec
        self.calls: list[int] = []
        self.images: list[weakref.ref] = []

    def decode(self, encoded: list[bytes], **options: Any) -> list[Any]:
        self.calls.append(len(encoded))
        found = self.codec.decode(encoded, **options)
        self.images += [weakref.ref(image) for image in found if image is not None]
        return found

    @property
    def num_alive(self) -> int:
        gc.collect()
        return sum(image() is not None for image in self.images)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    codec = Watched(nvimgcodec_decoder.codec_on_cpu())
    monkeypatch.setattr(nvimgcodec_decoder, "codec_on_cpu", lambda: codec)
    return codec


def test_a_bad_image_costs_one_call_alone(watched: Watched) -> None:
    """A batch with bad images is decoded once, and never halved to look for them."""
    decode = create_decoder("nvimgcodec", CPU, num_threads=1)
    torn = BAD["half a jpeg"]
    images = decode([GOOD, torn, PNG, BAD["broken png"], ODD["alpha"], PLAIN["4:4:4"]])
    assert [isinstance(image, DecodeFailure) for image in images] == [0, 1, 0, 1, 0, 0]
    assert watched.calls == [5]


def test_images_are_let_go_with_their_tensors(watched: Watched) -> None:
    """As many images live as tensors that are held; they are the same memory, not copies."""
    decode = create_decoder("nvimgcodec", CPU, num_threads=1)
    held = decode([GOOD, BAD["half a jpeg"], PNG, PLAIN["gray jpeg"]])
    assert watched.num_alive == 3
    address = watched.images[0]().__array_interface__["data"][0]
    assert held[0].data_ptr() == address
    row = held[0][7]  # a part keeps the whole alive
    copy = row.clone()
    del held
    assert watched.num_alive == 1
    assert torch.equal(row, copy)
    del row
    assert watched.num_alive == 0
    for _ in range(50):
        decode([GOOD] * 3)
    assert watched.num_alive == 0


def test_a_batch_is_shared_among_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of at most MOST_AT_ONCE, smaller ones where threads would be idle; a codec each."""
    codecs: list[Watched] = []
    new = nvimgcodec_decoder.codec_on_cpu

    def watch() -> Watched:
        codecs.append(Watched(new()))
        return codecs[-1]

    monkeypatch.setattr(nvimgcodec_decoder, "codec_on_cpu", watch)
    decode = create_decoder("nvimgcodec", CPU, num_threads=4)
    for count, pieces in ((8, [2] * 4), (3, [1] * 3), (130, [32] * 4 + [2]), (0, [])):
        assert len(decode([GOOD] * count)) == count
        assert sorted((n for codec in codecs for n in codec.calls), reverse=True) == pieces
        for codec in codecs:
            codec.calls.clear()
    assert 1 <= len(codecs) <= 4


def test_the_scan_is_judged_as_dali_judges_it() -> None:
    """Noise in the scan is an image for both or for neither, and then the same one."""
    pytest.importorskip("nvidia.dali")
    rng, start = np.random.default_rng(3), GOOD.index(b"\xff\xda") + 14
    noisy = []
    for _ in range(24):
        data = bytearray(GOOD)
        for at in rng.integers(start, len(GOOD) - 2, 5):
            data[at] = rng.integers(256)
        noisy.append(bytes(data))
    ours, dalis = (create_decoder(name, CPU, 1)(noisy) for name in ("nvimgcodec", "dali"))
    for mine, its in zip(ours, dalis, strict=True):
        assert isinstance(mine, torch.Tensor) == isinstance(its, torch.Tensor)
        assert mine == its if isinstance(mine, DecodeFailure) else torch.equal(mine, its)


class FakeCodec:
    """Takes the place of a GPU's codec, and keeps what it is told; gives no image."""

    made: ClassVar[list["FakeCodec"]] = []

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.calls: list[tuple[int, int | None]] = []
        FakeCodec.made.append(self)

    def decode(
        self, encoded: list[bytes], *, params: Any, cuda_stream: int | None = None
    ) -> list[None]:
        self.calls.append((len(encoded), cuda_stream))
        return [None] * len(encoded)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> list[FakeCodec]:
    """A GPU as far as this decoder looks at it; nothing here says what NVIDIA's codec does."""
    FakeCodec.made.clear()
    monkeypatch.setattr(nvimgcodec_decoder.nvimgcodec, "Decoder", FakeCodec)
    stream = SimpleNamespace(cuda_stream=1234)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self)
    return FakeCodec.made


@pytest.mark.parametrize("load", [ALL, NONE])
def test_a_gpus_codec_is_told_all_or_none(fake_gpu: list[FakeCodec], load: float) -> None:
    """The engine stands first or is not named; no batch is larger than the one that settles it."""
    decode = nvimgcodec_decoder.NvimgcodecDecoder(CUDA, 5, WorkSplit(load))
    (codec,) = fake_gpu
    kinds = nvimgcodec_decoder.nvimgcodec.BackendKind
    named = [backend.backend_kind for backend in codec.options["backends"]]
    assert (named[0] == kinds.HW_GPU_ONLY) == (kinds.HW_GPU_ONLY in named) == bool(load)
    assert codec.options["backends"][0].load_hint == 1
    assert codec.options["device_id"] == 0
    assert codec.options["max_num_cpu_threads"] == 5
    most = nvimgcodec_decoder.MOST_AT_ONCE["cuda"]
    assert codec.calls == ([(most, None)] if load else [])
    codec.calls.clear()
    small = PLAIN["one pixel"]
    images = decode([small] * (2 * most + 3))
    assert codec.calls == [(most, 1234), (most, 1234), (3, 1234)]
    # What it gave nothing for is decoded by Pillow.
    assert all(isinstance(image, torch.Tensor) for image in images)
    assert len(fake_gpu) == 1


def test_a_share_between_is_refused() -> None:
    """It would make pixels depend on the batch: one line with the way out."""
    with pytest.raises(UsageError, match=r"all JPEGs or none, got a load of 0\.35; use data"):
        create_decoder("nvimgcodec", CPU, 1, WorkSplit(0.35))


def test_without_the_library_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for DALI: one line, no traceback of an import."""
    monkeypatch.setattr("augengine.devices.installed.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install nvidia-nvimgcodec-cu12"):
        create_decoder("nvimgcodec", CPU)


@pytest.mark.gpu
def test_a_gpus_images_are_let_go_with_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU: the same memory as the codec's image, and none of it lives longer."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    decode = create_decoder("nvimgcodec", CUDA, 2)
    codec = Watched(decode._codec)
    decode._codec = codec
    held = decode([GOOD, PLAIN["4:4:4"]])
    address = codec.images[0]().__cuda_array_interface__["data"][0]
    assert held[0].data_ptr() == address
    expected = create_decoder("pillow", CPU)([GOOD])[0]
    assert (held[0].cpu().float() - expected.float()).abs().mean() <= 1
    del held
    assert codec.num_alive == 0
