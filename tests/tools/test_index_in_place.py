"""What the command says of tars that stay where they are: what is in the index, and what is not."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.errors import run_command
from shards.index import ShardIndex
from shards.reader import ShardReader
from tools import check_shards
from tools.make_shards import main


def write_tar(path: Path, *names: str, mode: str = "w") -> Path:
    """Images of one picture, under these names; those that end in .cls hold a 1."""
    buffer = io.BytesIO()
    Image.new("RGB", (12, 9), "red").save(buffer, "JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # pyright: ignore[reportCallIssue,reportArgumentType]
        for name in names:
            data = b"1" if name.endswith(".cls") else buffer.getvalue()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_what_is_left_out_is_said_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many, why, where they are listed, what to do; the check says it, too."""
    write_tar(tmp_path / "x.tar", "p.jpg", "p.1.jpg", "p.2.jpg", "q.txt.cls", "r.jpg", "r.cls")
    for _ in range(2):
        assert main([str(tmp_path)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith(f"{tmp_path}: 2 images, 2 classes, 1 shard, indexed in place")
        assert said[1] == (
            f"note: left out 3 images (2: a further image of its sample; 1: no member is an "
            f"image), listed in {tmp_path}/quarantine.jsonl; the first is x.tar:p.1.jpg: a "
            f"further image of its sample (p.jpg is the one)"
        )
        assert said[2].startswith("note: --image-key each makes every image a sample of its own")
        assert said[3] == "note: 1 of 2 images has no label (1: no .cls or .json)"
    assert check_shards.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "note: 1 of 2 images has no label" in said
    assert "note: x.tar: 2 images are not in the index: another one of their sample is" in said
    assert "all is well with what is indexed: 2 images" in said


def test_images_beside_the_tars_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of images with one tar in it is indexed for the tar, and the images are counted."""
    write_tar(tmp_path / "backup.tar", "p.jpg")
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(b"")
    assert main([str(tmp_path)]) == 0
    assert "note: 1 image lies beside the archives of" in capsys.readouterr().out


def test_a_hidden_tar_is_no_tar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What macOS puts beside each file on another's disk: indexed tars and packed ones go on."""
    write_tar(tmp_path / "in" / "x.tar", "p.jpg")
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"]) == 0
    for folder in (tmp_path / "in", tmp_path / "out"):
        (folder / "._x.tar").write_bytes(b"\0\5\x16\7")
    assert main([str(tmp_path / "in")]) == 0
    assert main([str(tmp_path / "in" / "*.tar")]) == 0
    assert check_shards.main([str(tmp_path / "out"), "--workers", "1"]) == 0
    assert len(ShardIndex.open(tmp_path / "out")) == 1
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "._x.tar").write_bytes(b"\0\5\x16\7")
    assert main([str(tmp_path / "only")]) == 2
    assert "OUT is needed" in capsys.readouterr().err


def test_an_image_key_chooses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to say then; a wrong one is refused before anything is read."""
    write_tar(tmp_path / "x.tar", "p.1.jpg", "p.2.jpg", "q.1.jpg", "q.2.jpg")
    assert main([str(tmp_path)]) == 1
    assert "--image-key 1.jpg, or --image-key each" in capsys.readouterr().err
    assert main([str(tmp_path), "--image-key", "cls"]) == 2
    assert "image key" in capsys.readouterr().err
    for key, count in (("2.jpg", 2), ("each", 4)):
        assert main([str(tmp_path), "--image-key", key]) == 0
        said = capsys.readouterr().out
        assert f"{count} images" in said
        assert "left out" not in said
        assert len(ShardIndex.open(tmp_path)) == count


def test_archives_beside_the_tars_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that packs all of them."""
    write_tar(tmp_path / "in/a.tar", "a.jpg")
    write_tar(tmp_path / "in/b.tar.gz", "b.jpg", mode="w:gz")
    write_tar(tmp_path / "in/more/c.tar", "c.jpg")
    assert main([str(tmp_path / "in")]) == 0
    said = capsys.readouterr().out
    assert "note: not in the index: 2 archives that only packing reads" in said
    assert f"python -m tools.make_shards {tmp_path}/in OUT" in said
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"]) == 0
    assert "archive, 3 images" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.tar.gz", "deep/er/x.tar", "x.zip.tar", "x.tar"])
def test_what_cannot_be_opened_in_place_has_a_command_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The advice is typed, and packs."""
    mode = "w" if name.startswith("deep") else "w:gz"
    write_tar(tmp_path / "in" / name, "a.jpg", mode=mode)
    assert run_command(lambda: ShardIndex.open(tmp_path / "in") and 0) == 1
    advice = capsys.readouterr().err.partition("python -m tools.make_shards ")[2]
    source = advice.split()[0]
    assert advice.split()[1].startswith("OUT")
    assert main([source, str(tmp_path / "out"), "--workers", "1"]) == 0
    assert len(ShardIndex.open(tmp_path / "out")) == 1


@pytest.mark.parametrize("name", ["x.tar.gz", "deep/er/x.tar"])
def test_without_an_out_it_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """One line."""
    write_tar(tmp_path / name, "a.jpg", mode="w:gz" if name.endswith("gz") else "w")
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"python -m tools.make_shards {tmp_path} OUT" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "option", [["--resize", "8"], ["--limit", "1"], ["--value-range", "0:9"], ["--split", "val"]]
)
def test_what_only_packing_does_is_refused_in_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    """It was ignored, and nobody noticed."""
    write_tar(tmp_path / "x.tar", "a.jpg")
    assert main([str(tmp_path), *option]) == 2
    assert f"got {option[0]}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_packing_again_keeps_the_list_of_what_was_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Indexing a packed set in place finds nothing bad, and forgets nothing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.jpg").write_bytes(b"x")
    with tarfile.open(write_tar(tmp_path / "x.tar", "good.jpg")) as tar:
        tar.extractall(tmp_path / "in", filter="data")
    out = tmp_path / "out"
    assert main([str(tmp_path / "in"), str(out), "--workers", "1"]) == 0
    assert main([str(out)]) == 0
    rows = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["bad.jpg"]
    assert "left out 1 bad image" in capsys.readouterr().out


def test_what_img2dataset_downloads_needs_no_packing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tars of image, caption and facts, and beside each a table and counts: every image is in the
    index and can be read, nothing is moved, and the check is content.
    """
    folder = tmp_path / "web"
    for shard, numbers in ((0, (0, 1, 3)), (1, (0, 2))):  # what could not be fetched is absent
        keys = [f"{shard:05d}{number:04d}" for number in numbers]
        files = [f"{key}.{end}" for key in keys for end in ("jpg", "txt", "json")]
        tar = folder / f"{shard:05d}.tar"
        folder.mkdir(exist_ok=True)
        with tarfile.open(tar, "w") as written:
            for name in files:
                data = json.dumps({"key": name[:9], "status": "success", "caption": "a"}).encode()
                if name.endswith("jpg"):
                    buffer = io.BytesIO()
                    Image.new("RGB", (12, 9), "red").save(buffer, "JPEG")
                    data = buffer.getvalue()
                info = tarfile.TarInfo(name)
                info.size = len(data)
                written.addfile(info, io.BytesIO(data))
        (folder / f"{shard:05d}.parquet").write_bytes(b"PAR1 a table PAR1")
        (folder / f"{shard:05d}_stats.json").write_text('{"count": 4, "successes": 3}')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main([str(folder)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"{folder}: 5 images, no labels, 2 shards, indexed in place")
    index = ShardIndex.open(folder)
    assert index.keys(np.arange(5)) == [
        *("000000000", "000000001", "000000003"),
        *("000010000", "000010002"),
    ]
    with ShardReader(index) as reader:
        assert all(isinstance(image, bytes) for image in reader.read(np.arange(5)))
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert check_shards.main([str(folder)]) == 0
