"""Who decodes what on a GPU: a pure search, tried on images of the set itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_loader import overwrite

from augengine.decoders import trial
from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import DecodeFailure
from augengine.decoders.trial import create_tuned_decoder, images_per_s, sample_jpegs
from augengine.decoders.tuning import ALL, NONE, WorkSplit, best_split, tiny_jpeg
from benchmarks.augment.photographs import photograph_jpegs
from shards.errors import UsageError
from shards.index import ShardIndex
from shards.packing.pack import pack
from shards.sources.detect import open_source

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("engine", "kernels", "load"),
    [(100, 100, ALL), (81, 100, ALL), (79, 100, NONE), (300, 100, ALL), (10, 100, NONE)],
)
def test_the_engine_is_taken_where_it_keeps_up(engine: int, kernels: int, load: float) -> None:
    """All JPEGs or none: the engine down to four fifths of the kernels' rate, each tried once."""
    seen = []

    def rate(split: WorkSplit) -> float:
        seen.append(split.hardware_load)
        return engine if split.hardware_load else kernels

    assert best_split(rate) == WorkSplit(load)
    assert sorted(seen) == [NONE, ALL]


def test_only_all_or_none_leave_pixels_to_the_image() -> None:
    """A share between says so; the default is none, the same everywhere without a trial."""
    assert WorkSplit() == WorkSplit(NONE)
    assert [WorkSplit(load).is_whole for load in (0, 0.65, 1)] == [True, False, True]
    assert "depend on the batch" in str(WorkSplit(0.65))
    assert "depend" not in str(WorkSplit(ALL)) + str(WorkSplit(NONE))


@pytest.mark.parametrize("load", [-0.1, 1.5, float("nan")])
def test_a_load_is_a_share(load: float) -> None:
    """Anything else is refused with the way out."""
    with pytest.raises(UsageError, match=r"in \[0, 1\].*auto"):
        WorkSplit(load)


def test_dali_knows_what_it_is_told() -> None:
    """The graph's settings are arguments of DALI's decoder, with the split's values."""
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import backend

    from augengine.decoders.dali_decoder import on_gpu

    settings = on_gpu(WorkSplit(0.25))
    assert settings.pop("device") == "mixed"
    assert list(settings.values()) == [0.25]
    assert settings.keys() <= set(backend.GetSchema("decoders__Image").GetArgumentNames())


@pytest.mark.parametrize(("load", "batches"), [(ALL, [[5]]), (NONE, [])])
def test_a_pipeline_of_dali_begins_with_a_whole_batch(
    monkeypatch: pytest.MonkeyPatch, load: float, batches: list[list[int]]
) -> None:
    """One built for half of a failed batch too, or the engine would get half of the next."""
    pytest.importorskip("nvidia.dali")
    from augengine.decoders import dali_decoder

    runs = []

    class Pipeline:
        def run(self, stream: object, encoded: list[np.ndarray]) -> None:
            assert all(data.tobytes() == tiny_jpeg() for data in encoded)
            runs.append([len(encoded)])

    monkeypatch.setattr(dali_decoder, "_decoder", lambda *_, **__: Pipeline())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    decoder = dali_decoder.DaliDecoder(CUDA, 2, WorkSplit(load))
    decoder._max_images = 5
    decoder._build()
    assert runs == batches


@pytest.mark.parametrize("load", [None, 0.3])
def test_on_the_cpu_nothing_is_tried(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch, load: float | None
) -> None:
    """No image is read, none decoded, nothing is said."""
    index = ShardIndex.open(shard_folder)
    monkeypatch.setattr(trial, "sample_jpegs", lambda *_: pytest.fail("images were read"))
    decoder, note = create_tuned_decoder("auto", CPU, 1, index, load)
    assert decoder.device == CPU
    assert note is None


class FakeGpuDecoder:
    """Says it is on the GPU; how fast it is depends on its split."""

    name, device = "dali", CUDA

    def __init__(self, split: WorkSplit | None) -> None:
        self.split = split or WorkSplit()

    def __call__(self, encoded: list[bytes]) -> list[torch.Tensor]:
        return [torch.zeros(1, 1, 3, dtype=torch.uint8) for _ in encoded]


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        trial, "create_decoder", lambda name, device, threads, split=None: FakeGpuDecoder(split)
    )
    monkeypatch.setattr(
        trial,
        "images_per_s",
        lambda decoder, jpegs: 500 - 300 * decoder.split.hardware_load,
    )


@pytest.mark.usefixtures("fake_gpu")
def test_auto_is_settled_on_the_sets_images(shard_folder: Path) -> None:
    """By measuring both; the sentence names it and how many images it was measured on."""
    decoder, note = create_tuned_decoder("auto", CUDA, 4, ShardIndex.open(shard_folder))
    assert decoder.split == WorkSplit(NONE)
    assert "by CUDA kernels" in note
    assert "37 images" in note
    assert "\n" not in note


@pytest.mark.usefixtures("fake_gpu")
def test_one_process_measures_for_all(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another has found is taken as it is, and nothing is tried here."""
    monkeypatch.setattr(trial, "sample_jpegs", lambda *_: pytest.fail("images were read"))
    index = ShardIndex.open(shard_folder)
    theirs = (WorkSplit(ALL), "by a trial elsewhere")
    decoder, note = create_tuned_decoder("auto", CUDA, 4, index, agree=lambda find: theirs)
    assert decoder.split == WorkSplit(ALL)
    assert note.endswith("by a trial elsewhere")


@pytest.mark.usefixtures("fake_gpu")
def test_a_fixed_load_is_not_measured(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """data.decoder_load=0.1 is 0.1, with no image read for it."""
    monkeypatch.setattr(trial, "sample_jpegs", lambda *_: pytest.fail("images were read"))
    index = ShardIndex.open(shard_folder)
    decoder, note = create_tuned_decoder("auto", CUDA, 4, index, 0.1)
    assert decoder.split == WorkSplit(0.1)
    assert "data.decoder_load" in note


@pytest.mark.usefixtures("fake_gpu")
def test_a_set_without_jpegs_has_nothing_to_split(tmp_path: Path) -> None:
    """PNGs are the CPU's work whatever the split: the default stays, and the run is told."""
    from PIL import Image

    for i in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
    pack(open_source(str(tmp_path / "images")), tmp_path / "shards")
    decoder, note = create_tuned_decoder("auto", CUDA, 4, ShardIndex.open(tmp_path / "shards"))
    assert decoder.split == WorkSplit()
    assert "no JPEG" in note


def test_damaged_images_are_not_timed(new_shards: object) -> None:
    """Neither what cannot be read as a JPEG nor what fails to decode; the others, in order."""
    index = ShardIndex.open(new_shards())
    overwrite(index, 3)
    overwrite(index, 9, b"\0" * 2000, offset=300)
    with_all = sample_jpegs(index, create_decoder("pillow", CPU))
    decoded = create_decoder("pillow", CPU)(with_all)
    assert not [image for image in decoded if isinstance(image, DecodeFailure)]
    assert len(with_all) == 35


def test_many_images_are_sampled_evenly(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most NUM_IMAGES, the first and the last among them."""
    monkeypatch.setattr(trial, "NUM_IMAGES", 7)
    index = ShardIndex.open(shard_folder)
    sizes = index.records["size"][np.linspace(0, 36, 7).astype(int)]
    jpegs = sample_jpegs(index, create_decoder("pillow", CPU))
    assert [len(jpeg) for jpeg in jpegs] == sizes.tolist()


def test_the_rate_is_the_median_without_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the decoder takes long and is not decoding; nor is one slow call the rule."""
    clock = iter(np.cumsum([0, 9.0, 0, 0.4, 0, 0.5, 0, 8.0, 0, 0.6, 0, 0.3]).tolist())
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(clock))

    class Decoder:
        name, device = "none", CPU

        def __call__(self, encoded: list[bytes]) -> list[torch.Tensor]:
            return []

    assert images_per_s(Decoder(), [b""] * 10) == 20


@pytest.mark.gpu
@pytest.mark.parametrize("split", [WorkSplit(NONE), WorkSplit(ALL)])
@pytest.mark.parametrize("name", ["dali", "nvimgcodec"])
def test_either_way_gives_nearly_the_same_picture(
    shard_folder: Path, name: str, split: WorkSplit
) -> None:
    """On a side stream, as the pipeline decodes: within a level of Pillow on average."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip(f"nvidia.{name}")
    jpegs = sample_jpegs(ShardIndex.open(shard_folder), create_decoder("pillow", CPU))
    expected = create_decoder("pillow", CPU)(jpegs)
    decoder, stream = create_decoder(name, CUDA, 2, split), torch.cuda.Stream(CUDA)
    with torch.cuda.stream(stream):
        images = [image.cpu() for image in decoder(jpegs)]
    for image, truth in zip(images, expected, strict=True):
        assert (image.float() - truth.float()).abs().mean() <= 1


@pytest.mark.gpu
@pytest.mark.parametrize("split", [WorkSplit(NONE), WorkSplit(ALL)])
@pytest.mark.parametrize("name", ["dali", "nvimgcodec"])
def test_pixels_depend_on_the_image_alone(name: str, split: WorkSplit) -> None:
    """On a GPU: alone, in a batch of any size, behind any other, beside a bad one, bit for bit."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip(f"nvidia.{name}")
    jpegs = photograph_jpegs(24)
    decode = create_decoder(name, CUDA, 2, split)
    alone = [decode([jpeg])[0].cpu() for jpeg in jpegs]
    for count in (3, 24, 7):
        for order in (list(range(24)), list(range(23, -1, -1))):
            rows = order[:count]
            images = decode([*(jpegs[row] for row in rows), jpegs[0][:5000]])
            assert isinstance(images.pop(), DecodeFailure)
            for row, image in zip(rows, images, strict=True):
                assert torch.equal(image.cpu(), alone[row]), (count, row)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dali", "nvimgcodec"])
def test_a_trial_on_a_gpu_ends_with_a_split(shard_folder: Path, name: str) -> None:
    """On a GPU: all or none, measured on this set, and a decoder that works."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip(f"nvidia.{name}")
    index = ShardIndex.open(shard_folder)
    decoder, note = create_tuned_decoder(name, CUDA, 2, index)
    assert decoder.split.is_whole
    assert "37 images" in note
    (image,) = decoder(sample_jpegs(index, create_decoder("pillow", CPU))[:1])
    assert image.is_cuda
