"""What packing converts is listed beside the shards, and told once, also of an interrupted run."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.packing import pack_run
from shards.packing.conversions import Conversion, Converted, read_conversions, tell_conversions
from shards.packing.pack import pack
from shards.samples.oddities import ALPHA, DEEP
from shards.sources.folder import FolderSource


def make_images(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    for k in range(count):
        pixels = np.full((40, 40, 4), [9, 9, 9, 100 if k % 2 else 255], np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    Image.fromarray(np.full((40, 40), 4000, np.uint16)).save(folder / "deep.png")
    return folder


def test_each_image_is_listed(tmp_path: Path) -> None:
    """In order of the names, with the values of those that have more than 8 bits."""
    report = pack(FolderSource(make_images(tmp_path / "in")), tmp_path / "out", workers=1)
    lines = (tmp_path / "out/converted.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["name"], row["what"]) for row in rows] == [
        *((f"{k}.png", ALPHA) for k in (1, 3, 5, 7)),
        ("deep.png", DEEP),
    ]
    assert (rows[-1]["low"], rows[-1]["high"], rows[-1]["white"]) == (4000, 4000, 65_535)
    again = pack(FolderSource(tmp_path / "in"), tmp_path / "out", workers=1)
    assert again.was_complete
    assert sorted(map(repr, again.converted)) == sorted(map(repr, report.converted))


def test_an_interrupted_run_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the journal of the shards that are finished."""
    source = FolderSource(make_images(tmp_path / "in", 40))
    options = {"workers": 1, "shard_size_bytes": 20_480}
    whole = pack(source, tmp_path / "whole", **options)
    add, count = pack_run.ShardWriter.add, iter(range(100))

    def stop(*arguments: object) -> None:
        if next(count) == 20:
            raise KeyboardInterrupt
        add(*arguments)

    monkeypatch.setattr(pack_run.ShardWriter, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "out", **options)
    monkeypatch.setattr(pack_run.ShardWriter, "add", add)
    report = pack(source, tmp_path / "out", **options)
    assert report.num_resumed
    assert report.converted == whole.converted
    assert read_conversions(tmp_path / "out") == read_conversions(tmp_path / "whole")


def test_a_set_in_place_of_another_takes_its_list_along(tmp_path: Path) -> None:
    """No list of images that are gone."""
    out = tmp_path / "out"
    pack(FolderSource(make_images(tmp_path / "in")), out, workers=1)
    (tmp_path / "plain").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "plain/a.png")
    pack(FolderSource(tmp_path / "plain"), out, workers=1, overwrite=True)
    assert not (out / "converted.jsonl").exists()


def test_values_of_fewer_bits_are_told_with_the_option() -> None:
    """How many images, the range, the option with a number that fits them."""
    twelve, full = Conversion(DEEP, 0, 4000, 65_535), Conversion(DEEP, 0, 60_000, 65_535)
    (told,) = tell_conversions([Converted("a", twelve), Converted("b", full)])
    assert told.startswith("2 images: over 8 bits a value: scaled to 8; their values go from 0 to")
    assert "1 of them have none above 4,000" in told
    assert "12 bits, pack them with --value-range 0:4095" in told
    for quiet in (full, Conversion(DEEP, 0, 4000, 4095), Conversion(DEEP, -9, 9, 10)):
        (told,) = tell_conversions([Converted("a", quiet)])
        assert "--value-range" not in told


def test_an_image_that_keeps_everything_is_not_listed(tmp_path: Path) -> None:
    """No list where there is nothing to say."""
    (tmp_path / "in").mkdir()
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "JPEG")
    (tmp_path / "in/a.jpg").write_bytes(buffer.getvalue())
    assert pack(FolderSource(tmp_path / "in"), tmp_path / "out", workers=1).converted == ()
    assert not (tmp_path / "out/converted.jsonl").exists()
