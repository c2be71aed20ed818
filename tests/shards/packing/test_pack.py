"""Packing: the same bytes whoever does the work, and nobody else's files touched."""

import io
import json
import tarfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from noise import Noise, contents, pack_small
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL, QUARANTINE_NAME, version_of
from shards.index import ShardIndex
from shards.indexing.scan_tar import scan_tar
from shards.packing.pack_report import PackReport
from shards.reader import ShardReader


def test_the_index_is_what_a_scan_of_the_tars_finds(tmp_path: Path) -> None:
    """Offsets, sizes, checksums, labels are those in the tars; every sample is there once."""
    report = pack_small(Noise(), tmp_path / "out")
    index = ShardIndex.open(tmp_path / "out")
    assert len(index) == 60
    assert len(index.shards) > 2
    assert index.classes == ("x", "y", "z")
    assert report.manifest.fingerprint == index.fingerprint
    scans = [scan_tar(tmp_path / "out" / shard.name) for shard in index.shards]
    scanned = np.concatenate([scan.records for scan in scans])
    for name in ("offset", "size", "crc32", "height", "width"):
        np.testing.assert_array_equal(index.records[name], scanned[name])
    assert index.records["label"].tolist() == [label for scan in scans for label in scan.labels]
    assert sorted(key for scan in scans for key in scan.keys) == [f"{i:06d}" for i in range(60)]


def test_a_source_tree_packs_without_being_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python then knows no version of ours: the manifest says so."""

    def nowhere(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("shards.format.installed_version", nowhere)
    version_of.cache_clear()
    try:
        versions = pack_small(Noise(), tmp_path / "out").manifest.made["versions"]
    finally:
        version_of.cache_clear()
    assert isinstance(versions, dict)
    assert versions["augengine"] == "unknown"


def test_the_pixels_come_back(tmp_path: Path) -> None:
    """Key, label and image of a sample are those of its number in the source."""
    pack_small(Noise(), tmp_path / "out")
    index = ShardIndex.open(tmp_path / "out")
    with ShardReader(index, verify=True) as reader:
        for id, data in enumerate(reader.read(np.arange(60))):
            number = int(index.key(id))
            assert isinstance(data, bytes)
            np.testing.assert_array_equal(Image.open(io.BytesIO(data)), Noise()[number].load())
            assert index.entry(id).label == number % 3


def test_other_tools_read_the_shards(tmp_path: Path) -> None:
    """webdataset sees the image, the class number and the original name; headers are USTAR."""
    pack_small(Noise(), tmp_path / "out")
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    samples: list[dict[str, bytes]] = []
    for url in urls:
        with open(url, "rb") as stream:
            source = {"url": url, "stream": stream}
            samples += group_by_keys(tar_file_expander([source]))
    assert len(samples) == 60
    for sample in samples:
        number = int(sample["__key__"])
        assert sample["cls"] == b"%d" % (number % 3)
        assert json.loads(sample["json"]) == {"name": f"n/{number}.png"}
    for url in urls:
        assert Path(url).stat().st_size <= 40_960
        with tarfile.open(url) as tar:
            members = tar.getmembers()
        assert {(m.mtime, m.mode, m.uid, m.type, len(m.pax_headers)) for m in members} == {
            (0, 0o444, 0, tarfile.REGTYPE, 0)
        }


def test_without_labels_and_names_there_is_only_the_image(tmp_path: Path) -> None:
    """No member says nothing."""
    pack_small(Noise(classes=(), stores_names=False), tmp_path / "out")
    with tarfile.open(tmp_path / "out/train-000000.tar") as tar:
        assert {name.split(".")[1] for name in tar.getnames()} == {"png"}
    assert ShardIndex.open(tmp_path / "out").labels(np.arange(60)).tolist() == [NO_LABEL] * 60


@pytest.mark.slow
def test_workers_do_not_change_a_byte(tmp_path: Path) -> None:
    """One process or three: tars, index, manifest and quarantine are equal."""
    source = Noise(size=300, bad=(7, 100))
    pack_small(source, tmp_path / "one")
    pack_small(source, tmp_path / "three", workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_the_seed_mixes_the_samples(tmp_path: Path) -> None:
    """Another seed is another order, and no shard is of one class or of neighbours."""
    pack_small(Noise(), tmp_path / "0")
    pack_small(Noise(), tmp_path / "1", seed=1)
    orders = []
    for seed in "01":
        index = ShardIndex.open(tmp_path / seed)
        orders.append([int(index.key(i)) for i in range(60)])
        first = index.labels(np.arange(index.shards[0].num_samples))
        assert set(first.tolist()) == {0, 1, 2}
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(60))


def test_blocks_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source in blocks is shuffled within windows: few blocks are open at a time."""
    monkeypatch.setattr("shards.packing.pack_settings.WINDOW_SAMPLES", 20)
    source = Noise(size=100, block_sizes=np.full(10, 10))
    pack_small(source, tmp_path / "out")
    assert sorted(source.asked) == list(range(100))
    for start in range(0, 100, 20):
        assert len({number // 10 for number in source.asked[start : start + 20]}) == 2


def test_limit_takes_a_random_part(tmp_path: Path) -> None:
    """Not the first ones, and the same ones again."""
    pack_small(Noise(), tmp_path / "out", limit=10)
    index = ShardIndex.open(tmp_path / "out")
    keys = {int(index.key(i)) for i in range(len(index))}
    assert len(keys) == 10
    assert keys != set(range(10))


@pytest.mark.parametrize("seed", [0, 5])
def test_what_limit_packs_skip_leaves_out(tmp_path: Path, seed: int) -> None:
    """A held-out set and the rest share no image and lack none; both together cut a part out."""
    held_out = numbers_in(pack_small(Noise(), tmp_path / "val", seed=seed, limit=10))
    rest = numbers_in(pack_small(Noise(), tmp_path / "train", seed=seed, skip=10))
    assert (len(held_out), len(rest)) == (10, 50)
    assert held_out | rest == set(range(60))
    part = numbers_in(pack_small(Noise(), tmp_path / "part", seed=seed, skip=10, limit=20))
    assert len(part) == 20
    assert part < rest


def test_a_skip_of_none_leaves_no_trace(tmp_path: Path) -> None:
    """Sets that were packed before one could skip are still known as the same."""
    made = [pack_small(Noise(), tmp_path / str(n), skip=n).manifest.made for n in (0, 1)]
    assert ["skip" in m["options"] for m in made] == [False, True]


def numbers_in(report: PackReport) -> set[int]:
    index = ShardIndex.open(report.directory)
    return {int(index.key(i)) for i in range(len(index))}


def test_bad_images_are_left_out_and_listed(tmp_path: Path) -> None:
    """By name and with the reason; the rest is packed."""
    report = pack_small(Noise(bad=(3, 30)), tmp_path / "out")
    lines = (tmp_path / "out" / QUARANTINE_NAME).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["n/3.png", "n/30.png"]
    assert "not an image" in lines[0]
    assert len(report.refused) == 2
    assert report.manifest.num_samples == 58


@pytest.mark.parametrize("options", [{"on_bad": "fail"}, {"limit": 1}])
def test_a_refused_run_leaves_nothing(tmp_path: Path, options: dict[str, object]) -> None:
    """Stopping at a bad image, or having no good one, names it and removes what was begun."""
    bad = (59,) if "on_bad" in options else tuple(range(60))
    with pytest.raises(DataError, match=r"n/\d+\.png: not an image"):
        pack_small(Noise(bad=bad), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_finished_set_is_left_alone(tmp_path: Path) -> None:
    """The same command again writes nothing, not even with other workers."""
    pack_small(Noise(), tmp_path / "out")
    before = [(p.name, p.stat().st_mtime_ns) for p in sorted((tmp_path / "out").iterdir())]
    report = pack_small(Noise(), tmp_path / "out", workers=2)
    assert report.was_complete
    assert before == [(p.name, p.stat().st_mtime_ns) for p in sorted((tmp_path / "out").iterdir())]
    (tmp_path / "out/train-000001.tar").unlink()
    with pytest.raises(DataError, match=r"train-000001\.tar missing"):
        pack_small(Noise(), tmp_path / "out")


def test_another_set_is_refused_or_replaced(tmp_path: Path) -> None:
    """Another source or option needs --overwrite, which leaves nothing of the old set."""
    pack_small(Noise(bad=(1,)), tmp_path / "out", name="old")
    before = contents(tmp_path / "out")
    for source, options in ((Noise(61), {}), (Noise(), {}), (Noise(bad=(1,)), {"seed": 1})):
        with pytest.raises(UsageError, match="--overwrite"):
            pack_small(source, tmp_path / "out", **({"name": "old"} | options))
    assert contents(tmp_path / "out") == before
    pack_small(Noise(), tmp_path / "out", overwrite=True)
    pack_small(Noise(), tmp_path / "new")
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_files_of_others_are_not_touched(tmp_path: Path) -> None:
    """A folder with anything in it, or indexed tars of somebody else, is refused."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        pack_small(Noise(), tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="the file"):
        pack_small(Noise(), tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_indexed_tars_of_others_are_not_replaced(shard_folder: Path) -> None:
    """--overwrite is for sets that were packed here."""
    ShardIndex.open(shard_folder)
    with pytest.raises(UsageError, match="elsewhere"):
        pack_small(Noise(), shard_folder, overwrite=True)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a/b"},
        {"name": ""},
        {"shard_size_bytes": 0},
        {"resize": 0},
        {"limit": 0},
        {"skip": -1},
        {"skip": 60},
        {"seed": -1},
        {"workers": 0},
        {"on_bad": "ignore"},
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object]
) -> None:
    """Each is a UsageError with the value in it."""
    with pytest.raises(UsageError, match="got"):
        pack_small(Noise(), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
