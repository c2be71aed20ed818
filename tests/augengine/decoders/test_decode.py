"""Decoders: one meaning on every platform, and a bad image costs itself alone."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import DecodeFailure, Decoder
from augengine.decoders.sniff import is_plain
from shards.errors import UsageError
from shards.packing.transcode import transcode

PHOTO = Image.fromarray(data.astronaut()[100:301, 60:393])  # odd sides
ROTATED = Image.Exif()
ROTATED[0x0112] = 6


def encode(image: Image.Image, file_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def with_wrong_byte(encoded: bytes, at: int) -> bytes:
    return encoded[:at] + bytes([encoded[at] ^ 0xFF]) + encoded[at + 1 :]


GOOD = encode(PHOTO, quality=90)  # 4:2:0
PNG = encode(PHOTO, "PNG")
GRADIENT = PHOTO.convert("L")
VIDEO = np.random.default_rng(0).bytes(12 << 20)  # behind the picture, as phones have it
PLAIN = {
    "4:2:0": GOOD,
    "4:4:4": encode(PHOTO, subsampling=0),
    "4:2:2": encode(PHOTO, subsampling=1),
    "gray jpeg": encode(GRADIENT),
    "progressive": encode(PHOTO, progressive=True),
    "rgb in jpeg": encode(PHOTO, keep_rgb=True, subsampling=0),
    "rotated jpeg": encode(PHOTO, exif=ROTATED),
    "one pixel": encode(PHOTO.crop((0, 0, 1, 1))),
    "motion photo": GOOD + VIDEO,
    "progressive motion photo": encode(PHOTO, progressive=True) + VIDEO,
    "png": PNG,
    "gray png": encode(GRADIENT, "PNG"),
}
ODD = {
    "cmyk jpeg": encode(PHOTO.convert("CMYK")),
    "alpha": encode(Image.merge("RGBA", (*PHOTO.split(), GRADIENT)), "PNG"),
    "gray with alpha": encode(PHOTO.convert("LA"), "PNG"),
    "palette": encode(PHOTO.quantize(64), "PNG"),
    "one bit": encode(PHOTO.convert("1"), "PNG"),
    "16 bit": encode(Image.fromarray(np.asarray(GRADIENT).astype(np.uint16) * 250), "PNG"),
    "rotated png": encode(PHOTO, "PNG", exif=ROTATED),
    "transparent colour": encode(PHOTO, "PNG", transparency=(0, 0, 0)),
    "webp": encode(PHOTO, "WEBP", lossless=True),
    "bmp": encode(PHOTO, "BMP"),
    "tiff": encode(PHOTO, "TIFF"),
    "gif": encode(PHOTO, "GIF"),
}
BAD = {
    "empty": b"",
    "text": b"not an image",
    "half a jpeg": GOOD[: len(GOOD) // 2],
    "no end of image": GOOD[:-2],
    "half a png": PNG[:5000],
    "broken png": with_wrong_byte(PNG, 9000),
    "jpeg header alone": GOOD[:30],
    "png header alone": PNG[:20],
}


@pytest.fixture(scope="module", params=["dali", "nvimgcodec", "pillow"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return create_decoder(request.param, "cpu", num_threads=2)


def pixels(encoded: bytes) -> torch.Tensor:
    """What packing stores of an image: the meaning every decoder has to share."""
    stored = Image.open(io.BytesIO(transcode(encoded).data))
    if stored.getexif().get(0x0112) == 6:
        stored = stored.transpose(Image.Transpose.ROTATE_270)
    return torch.from_numpy(np.array(stored.convert("RGB")))


@pytest.mark.parametrize("kind", [*PLAIN, *ODD])
def test_an_image_decodes_to_what_packing_stores(decoder: Decoder, kind: str) -> None:
    """Both decoders give the same bytes for every format and mode: upright 8-bit RGB."""
    encoded = (PLAIN | ODD)[kind]
    (image,) = decoder([encoded])
    assert isinstance(image, torch.Tensor)
    assert image.dtype == torch.uint8
    assert torch.equal(image, pixels(encoded))


def test_a_photograph_is_recognised(decoder: Decoder) -> None:
    """Against the pixels that were encoded, not another decoder: channels, axes, orientation."""
    png, rotated = decoder([PNG, PLAIN["rotated jpeg"]])
    truth = torch.from_numpy(np.array(PHOTO))
    assert torch.equal(png, truth)
    turned = truth.rot90(-1).float()
    assert rotated.shape == turned.shape
    assert (rotated.float() - turned).abs().mean() < 6


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_costs_itself_alone(decoder: Decoder, kind: str) -> None:
    """In any place of a batch: a reason in its place, the others decoded, in order."""
    good = [GOOD, PNG, PLAIN["4:4:4"], PLAIN["gray jpeg"], ODD["alpha"]]
    for place in (0, 3, 5):
        batch = [*good[:place], BAD[kind], *good[place:]]
        images = decoder(batch)
        failure = images.pop(place)
        assert isinstance(failure, DecodeFailure)
        assert failure.reason
        assert "\n" not in failure.reason
        for image, encoded in zip(images, good, strict=True):
            assert torch.equal(image, pixels(encoded))


def test_dali_is_not_asked_twice_about_a_bad_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time one run does for the batch, and the answers are the same; others of its
    size are asked about.
    """
    pytest.importorskip("nvidia.dali")
    from augengine.decoders.dali_decoder import DaliDecoder

    runs = []

    def run(self: DaliDecoder, encoded: list[bytes]) -> list:
        runs.append(len(encoded))
        return original(self, encoded)

    original = DaliDecoder._run
    monkeypatch.setattr(DaliDecoder, "_run", run)
    decode = create_decoder("dali", "cpu")
    torn = BAD["half a jpeg"]
    first = decode([GOOD, torn, PNG])
    assert len(runs) > 2
    runs.clear()
    second = decode([GOOD, torn, PNG])
    assert runs == [2]
    assert second[1] == first[1]
    assert torch.equal(second[0], first[0])
    twin = torn[:-1] + bytes([torn[-1] ^ 1])
    assert isinstance(decode([twin])[0], DecodeFailure)
    assert runs == [2, 1]


def test_a_batch_may_be_all_bad_or_empty(decoder: Decoder) -> None:
    """No image left is no reason to fail."""
    assert decoder([]) == []
    assert all(isinstance(image, DecodeFailure) for image in decoder(list(BAD.values())))


def test_batches_may_grow_and_shrink(decoder: Decoder) -> None:
    """Any batch size after any other, and earlier images are not written over."""
    kept = decoder([GOOD])[0]
    for size in (3, 1, 17, 2):
        assert all(torch.equal(image, kept) for image in decoder([GOOD] * size))
        decoder([PLAIN["4:4:4"]] * size)
    assert torch.equal(kept, pixels(GOOD))


def test_threads_change_no_pixel(decoder: Decoder) -> None:
    """1 and 4 threads decode alike."""
    batch = list((PLAIN | ODD).values())
    for name in ("dali", "nvimgcodec", "pillow"):
        for threads in (1, 4):
            other = create_decoder(name, "cpu", num_threads=threads)(batch)
            assert all(torch.equal(a, b) for a, b in zip(decoder(batch), other, strict=True))


def test_an_oversized_image_is_refused_by_its_header(decoder: Decoder) -> None:
    """A bomb is never decoded: its header says over 100 megapixels."""
    at = PNG.index(b"IHDR") + 4
    png = PNG[:at] + (60_000).to_bytes(4, "big") * 2 + PNG[at + 8 :]
    at = GOOD.index(b"\xff\xc0") + 5  # height and width of the baseline frame
    jpeg = GOOD[:at] + (60_000).to_bytes(2, "big") * 2 + GOOD[at + 4 :]
    for bomb in (png, jpeg):
        assert not is_plain(bomb)
        (failure,) = decoder([bomb])
        assert isinstance(failure, DecodeFailure)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's own memory count")
@pytest.mark.parametrize("batches", [150, pytest.param(500, marks=pytest.mark.long)])
def test_bad_batches_leave_no_memory_behind(batches: int, decoder: Decoder) -> None:
    """Batches with a corrupt image keep neither threads nor memory: not 80 kB of each."""

    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    small = encode(PHOTO.resize((48, 48)))
    for count in range(100 + batches):
        if count == 100:  # the allocator has seen it all by now
            before, threads = resident_mib(), len(list(Path("/proc/self/task").iterdir()))
        # Another one every time: DALI is not asked again about the same.
        torn = small[:-20] + count.to_bytes(4, "big")
        images = decoder([small, torn, small])
        assert isinstance(images[1], DecodeFailure)
    assert resident_mib() - before < 0.08 * batches
    assert len(list(Path("/proc/self/task").iterdir())) <= threads


@pytest.mark.parametrize("kind", [*PLAIN, *ODD, *BAD])
def test_only_plain_images_reach_dali(kind: str) -> None:
    """8-bit gray and RGB JPEG and PNG; whatever DALI might read differently goes to Pillow."""
    assert is_plain((PLAIN | ODD | BAD)[kind]) == (
        kind in PLAIN or kind in ("half a jpeg", "no end of image", "half a png", "broken png")
    )


def test_auto_takes_dali_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is DALI, or Pillow on a platform without it; `dali` there names the install line."""
    assert create_decoder("auto", "cpu").name == "dali"
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.setattr("augengine.devices.installed.find_spec", lambda name: None)
    assert create_decoder("auto", "cpu").name == "pillow"
    with pytest.raises(UsageError, match="pip install nvidia-dali-cuda120"):
        create_decoder("dali", "cpu")


@pytest.mark.parametrize("arguments", [{"name": "opencv"}, {"num_threads": 0}])
def test_impossible_decoders_are_usage_errors(arguments: dict) -> None:
    """An unknown name or no thread at all: one line with the rule and the value."""
    with pytest.raises(UsageError, match=r"unknown decoder 'opencv'|got 0"):
        create_decoder(**({"name": "auto", "device": "cpu"} | arguments))


@pytest.mark.gpu
def test_the_gpu_decodes_nearly_alike() -> None:
    """nvJPEG stays within a level of libjpeg-turbo on average; PNG and odd images are exact."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    decode = create_decoder("dali", "cuda", num_threads=2)
    for kind, encoded in (PLAIN | ODD).items():
        (image,) = decode([encoded])
        assert image.is_cuda
        error = (image.cpu().float() - pixels(encoded).float()).abs()
        assert error.mean() <= (1 if encoded.startswith(b"\xff\xd8") else 0), kind
    failures = [
        image for image in decode([GOOD, *BAD.values()]) if isinstance(image, DecodeFailure)
    ]
    assert len(failures) == len(BAD)


@pytest.mark.parametrize("behind", [0.3, 0.5])
def test_markers_that_do_not_lead_to_a_scan_are_not_plain(behind: float) -> None:
    """Tables behind the frame overwritten: DALI crashed while it decoded the images beside it."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(buffer, "JPEG")
    good = buffer.getvalue()
    frame, scan = good.index(b"\xff\xc0"), good.index(b"\xff\xda")
    at = frame + 19 + int(behind * (scan - frame - 19))
    bad = good[:at] + bytes(len(good) - at)
    assert is_plain(good)
    assert not is_plain(bad)
