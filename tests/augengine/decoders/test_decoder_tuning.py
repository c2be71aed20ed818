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
from augengine.decoders.tuning import HYBRID_FROM_PX, LOADS, WorkSplit, best_of, best_split
from shards.errors import UsageError
from shards.index import ShardIndex
from shards.packing.pack import pack
from shards.sources.detect import open_source

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_the_fastest_candidate_wins() -> None:
    """Wherever it stands, and each is measured once."""
    for best in LOADS:
        measured = []

        def rate(load: float, best: float = best, measured: list = measured) -> float:
            measured.append(load)
            return 1000 - 500 * abs(load - best)

        assert best_of(rate, LOADS) == best
        assert measured == list(LOADS)


def test_noise_changes_nothing() -> None:
    """What is less than 3 % faster than the best so far is no reason to leave it."""
    assert best_of(lambda load: 100 + 2 * load, LOADS) == LOADS[0]
    rates = dict(zip(LOADS, (100, 102, 104, 106, 107, 90, 91), strict=True))
    assert best_of(rates.__getitem__, LOADS) == LOADS[2]


def test_a_split_is_found_one_setting_after_the_other() -> None:
    """The hardware's share first, then, with that share, who unpacks the rest."""
    seen = []

    def rate(split: WorkSplit) -> float:
        seen.append(split)
        return 100 / (1 + abs(split.hardware_load - 0.2)) + (split.hybrid_from_px < 500_000) * 50

    assert best_split(rate) == WorkSplit(0.2, 100_000)
    assert [split.hardware_load for split in seen] == [*LOADS, 0.2, 0.2]
    assert {split.hybrid_from_px for split in seen[: len(LOADS)]} == {HYBRID_FROM_PX[0]}


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

    settings = on_gpu(WorkSplit(0.25, 7))
    assert settings.pop("device") == "mixed"
    assert sorted(settings.values()) == [0.25, 7]
    assert settings.keys() <= set(backend.GetSchema("decoders__Image").GetArgumentNames())


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
        lambda decoder, jpegs: 500 - abs(decoder.split.hardware_load - 0.8) * 400,
    )


@pytest.mark.usefixtures("fake_gpu")
def test_auto_takes_the_fastest_on_the_sets_images(shard_folder: Path) -> None:
    """One that is measured; the sentence names it and how many images it was measured on."""
    decoder, note = create_tuned_decoder("auto", CUDA, 4, ShardIndex.open(shard_folder))
    assert decoder.split == WorkSplit(0.8)
    assert "80% of JPEGs" in note
    assert "37 images" in note
    assert "\n" not in note


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
    """PNGs are the CPU's work whatever the split: DALI's own stays, and the run is told."""
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
@pytest.mark.parametrize("split", [WorkSplit(0.0), WorkSplit(1.0), WorkSplit(0.5, 1)])
def test_every_split_of_dali_gives_nearly_the_same_picture(
    shard_folder: Path, split: WorkSplit
) -> None:
    """On a side stream, as the pipeline decodes: within a level of Pillow on average."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    jpegs = sample_jpegs(ShardIndex.open(shard_folder), create_decoder("pillow", CPU))
    expected = create_decoder("pillow", CPU)(jpegs)
    decoder, stream = create_decoder("dali", CUDA, 2, split), torch.cuda.Stream(CUDA)
    with torch.cuda.stream(stream):
        images = [image.cpu() for image in decoder(jpegs)]
    for image, truth in zip(images, expected, strict=True):
        assert (image.float() - truth.float()).abs().mean() <= 1


@pytest.mark.gpu
def test_a_trial_of_dali_on_a_gpu_ends_with_a_split(shard_folder: Path) -> None:
    """On a GPU: one of the candidates, measured on this set, and a decoder that works."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    index = ShardIndex.open(shard_folder)
    decoder, note = create_tuned_decoder("dali", CUDA, 2, index)
    assert decoder.split.hardware_load in LOADS
    assert "37 images" in note
    (image,) = decoder(sample_jpegs(index, create_decoder("pillow", CPU))[:1])
    assert image.is_cuda
