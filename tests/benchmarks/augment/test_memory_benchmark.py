import importlib
import json
from pathlib import Path

import pytest

from augengine.backends.fused import FusedBackend
from shards.index import ShardIndex

linux_only = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def memory():
    """benchmarks/augment/memory.py as a module."""
    return importlib.import_module("benchmarks.augment.memory")


@pytest.fixture(scope="module")
def shards(memory, tmp_path_factory):
    """Sixteen pieces of photographs, one of them damaged; never change them."""
    folder = tmp_path_factory.mktemp("pieces") / "shards"
    memory.pack_small(16, folder)
    return folder


@pytest.fixture
def short(memory):
    """200 batches of 8 images, two views of 32 pixels: 192 KiB of views a batch."""
    sizes = {"batch_size": 8, "num_images": 16, "views": (2,), "sizes_px": (32,)}
    return memory.Settings(num_batches=200, every=10, workers=1, **sizes)


@linux_only
@pytest.mark.parametrize("cache", ["none", "host"])
def test_memory_stays_flat(memory, shards, short, cache):
    """Over 200 batches, half of them with a damaged image: of 28 MiB of views not 4 stay."""
    result = memory.in_a_process(memory.run_loader, shards, "fused", cache, short)
    assert len(result["host"]["mib"]) == 20
    assert result["bad_samples"] >= 90
    assert result["host"]["growth_mib"] < 4


@linux_only
def test_a_backend_that_keeps_its_views_is_found(memory, shards, short):
    """150 batches after the warm-up, 192 KiB each: 28 MiB, which is over the bound."""
    result = memory.in_a_process(run_hoarder, shards, short)
    assert not result["is_flat"]
    assert result["host"]["growth_mib"] == pytest.approx(28, rel=0.3)


def run_hoarder(shards, settings):
    """In a process of its own: what earlier tests freed would make room for what is kept."""
    memory = importlib.import_module("benchmarks.augment.memory")
    kept = []

    class Hoarder(FusedBackend):
        def __call__(self, images, plan):
            kept.append(super().__call__(images, plan))
            return kept[-1]

    memory.create_backend = lambda name, device: Hoarder(device)
    return memory.run_loader(shards, "fused", "none", settings)


def test_the_slope_is_that_of_the_end(memory):
    """What comes before the warm-up's end does not count; 0.3 MiB in 100 batches do."""
    mib = [10, 200, 300, 400, 500, *(600 + 0.25 * i for i in range(15))]
    growth = memory.growth_of(mib, 100)
    assert growth.kib_per_batch == pytest.approx(2.56)
    assert growth.growth_mib == pytest.approx(3.5)
    assert growth.is_flat
    assert not memory.growth_of([*mib[:5], *(600 + 0.3 * i for i in range(15))], 100).is_flat
    assert memory.growth_of(mib[:5] + [600] * 15, 100).growth_mib == pytest.approx(0, abs=0.01)


def test_the_damaged_image_is_the_only_one(memory, shards):
    """Its header is whole, its pixels are not; all the others decode."""
    from augengine.decoders.create_decoder import create_decoder
    from augengine.decoders.decoder import DecodeFailure
    from shards.reader import ShardReader

    index = ShardIndex.open(shards)
    with ShardReader(index) as reader:
        images = create_decoder("pillow", "cpu")(reader.read(range(16)))
    bad = [id for id, image in enumerate(images) if isinstance(image, DecodeFailure)]
    assert bad == [memory.DAMAGED]


@pytest.mark.parametrize(("added", "code"), [(1.0, 0), (5.0, 1)])
def test_the_exit_code_says_whether_all_are_flat(
    memory, tmp_path, monkeypatch, capsys, added, code
):
    """One loader that grows is enough; the figures and their conditions are written either way."""

    def run(run_loader, shards, backend, cache, settings):
        grown = added if backend == "kornia" else 0.0
        host = {"mib": [300.0] * 20, "kib_per_batch": grown, "growth_mib": grown}
        return {
            "is_flat": grown < memory.MAX_GROWTH_MIB,
            "bad_samples": 3,
            "seconds": 0.1,
            "host": host,
        }

    monkeypatch.setattr(memory, "in_a_process", run)
    out = tmp_path / "memory.json"
    assert memory.main(["--batches", "40", "--out", str(out)]) == code
    report = json.loads(out.read_text())
    assert set(report["results"]) == {"fused", "fused, cache=host", "dali", "kornia"}
    assert report["settings"]["num_batches"] == 40
    assert "cpu" in report["conditions"]
    assert ("NO" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("argv", "rule"), [(["--batches", "3"], "at least 20"), (["--out", "/nowhere/x"], "existing")]
)
def test_a_wrong_option_is_one_line(memory, capsys, argv, rule):
    """Before anything runs: rule, value, remedy; exit code 2."""
    assert memory.main(argv) == 2
    error = capsys.readouterr().err
    assert rule in error
    assert error.count("\n") == 1
