"""The command: what it prints, its exit codes, and one line for every mistake."""

import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.index import ShardIndex
from shards.reader import ShardReader
from tools.make_shards import main


def make_images(folder: Path) -> Path:
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for i in range(3):
            pixels = np.full((20, 30, 3), 40 * i, np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def test_a_folder_of_images_becomes_a_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It tells what it read, what it wrote, what it left out and what to type next."""
    images = make_images(tmp_path / "images")
    (images / "cat/torn.jpg").write_bytes(b"")
    out = tmp_path / "out"
    assert main([str(images), str(out), "--workers", "1", "--resize", "10"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{images}: folder, 7 images, 2 classes"
    assert said[1].startswith(f"{out}: 6 images, 2 classes, 1 shard, ")
    assert said[2] == (
        f"left out 1 bad image, listed in {out}/quarantine.jsonl; the first is cat/torn.jpg: "
        f"the file is empty"
    )
    assert said[3] == f"next: python -m trainer.run --data {out}"
    assert ShardIndex.open(out).sizes(np.arange(6)).tolist() == [[10, 15]] * 6


def test_a_foreign_name_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal is shown the codes of control characters, in one line."""
    images = make_images(tmp_path / "images")
    (images / "cat/\x1b[2J\ntorn.jpg").write_bytes(b"")
    assert main([str(images), str(tmp_path / "out"), "--workers", "1"]) == 0
    assert r"first is cat/\x1b[2J\ntorn.jpg: the file is empty" in capsys.readouterr().out


def test_again_it_says_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time nothing is written and the exit code is 0."""
    arguments = [str(make_images(tmp_path / "images")), str(tmp_path / "out"), "--workers", "1"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    assert "complete already, nothing was packed" in capsys.readouterr().out
    assert main([*arguments, "--seed", "1"]) == 2
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0


def test_tars_are_indexed_in_place(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With or without an equal OUT nothing is rewritten; into another OUT they are packed."""
    before = {path.name: path.read_bytes() for path in shard_folder.glob("*.tar")}
    for arguments in ([str(shard_folder)], [f"{shard_folder}/*.tar", str(shard_folder)]):
        assert main(arguments) == 0
        assert "37 images, 3 classes, 3 shards, indexed in place" in capsys.readouterr().out
    assert main([str(shard_folder), str(tmp_path / "elsewhere"), "--workers", "1"]) == 0
    assert "archive, 37 images, 3 classes" in capsys.readouterr().out
    assert len(ShardIndex.open(tmp_path / "elsewhere")) == 37
    assert before == {path.name: path.read_bytes() for path in shard_folder.glob("*.tar")}


def test_what_is_to_be_typed_next_can_be_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where names have blanks: of a set, of a second one, of parts, and of tars in place."""
    images, out = tmp_path / "my photos", tmp_path / "my sets"
    make_images(images)
    assert main([str(images), str(out), "--hold-out", "2", "--workers", "1"]) == 0
    words = shlex.split(capsys.readouterr().out.partition("next: ")[2])
    assert words[3:] == ["--data", str(out), "--eval-data", f"{out}-held-out"]
    assert main([str(out)]) == 0
    assert shlex.split(capsys.readouterr().out.partition("next: ")[2])[3:] == ["--data", str(out)]
    parts = [str(images), f"{out} 2", "--part", "1/1", "--workers", "1"]
    assert main(parts) == 0
    words = shlex.split(capsys.readouterr().out.partition("next: ")[2])
    assert words[3:] == ["--join", f"{out} 2"]
    assert main(words[3:]) == 0
    words = shlex.split(capsys.readouterr().out.partition("next: ")[2])
    assert words[3:] == ["--data", f"{out} 2"]
    assert main([str(images)]) == 2
    said = capsys.readouterr().err.partition("python -m ")[2]
    assert shlex.split(said) == ["tools.make_shards", str(images), "OUT"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone", "OUT"], 2, "not there"),
        (["EMPTY", "OUT"], 2, "no file at all"),
        (["IMAGES"], 2, "OUT is needed"),
        (["IMAGES", "OUT", "--shard-size", "12x"], 2, "'12x'"),
        (["IMAGES", "OUT", "--workers", "0"], 2, "got 0"),
        (["IMAGES", "OUT", "--split", "val"], 2, "'val'"),
        (["demo:val", "OUT"], 2, "'val'"),
        (["IMAGES", "IMAGES"], 2, "another folder"),
        (["IMAGES", "IMAGES/x"], 2, "outside of SOURCE"),
        (["IMAGES", "OUT", "--value-range", "9:1"], 2, "'9:1'"),
        (["IMAGES", "OUT", "--hold-out", ""], 2, "''"),
        (["IMAGES", "OUT", "--hold-out", "100%"], 2, "got 100%"),
        (["IMAGES", "OUT", "--hold-out", "6"], 2, "takes 1 to 4 of these 6 images"),
        (["IMAGES", "OUT", "--held-out", "x"], 2, "--hold-out 10%"),
        (["IMAGES", "OUT", "--hold-out", "1", "--held-out", "OUT/x"], 2, "folder of its own"),
        (["IMAGES", "OUT", "--hold-out", "1", "--held-out", "IMAGES/x"], 2, "outside of SOURCE"),
        (["IMAGES", "OUT", "--labels", ""], 2, "(Is a directory)"),
        (["IMAGES", "OUT", "--labels", "gone"], 2, "got gone (No such file"),
        (["IMAGES", "OUT", "--label-column", "y"], 2, "got y without it"),
        (["IMAGES", "OUT", "--files", "gone"], 2, "got gone (No such file"),
        (["IMAGES", "OUT", "--max-pixels", "0"], 2, "got 0"),
        (["IMAGES", "OUT", "--max-pixels", "500"], 2, "got 500 without --resize; add --resize"),
        (["IMAGES", "OUT", "--image-key", "jpg"], 2, "is for tars and zips"),
        (["IMAGES", "/proc/nowhere/x"], 1, "must be writable"),
        (["BAD", "OUT"], 1, "at least one good image"),
        (["BAD", "OUT", "--on-bad", "fail"], 1, "1.jpg"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """Rule, value and remedy on one line of stderr, the right exit code, nothing written."""
    make_images(tmp_path / "IMAGES")
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BAD").mkdir()
    (tmp_path / "BAD/1.jpg").write_bytes(b"x")
    names = ("IMAGES", "EMPTY", "BAD", "OUT")
    given = [str(tmp_path / a) if a.split("/")[0] in names else a for a in arguments]
    assert main(given) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize("option", [["--on-bad", "x"], ["--seed", "x"], ["--nonsense"]])
def test_wrong_flags_exit_with_2(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the flag."""
    assert main(["demo", "out", *option]) == 2
    error = capsys.readouterr().err
    assert option[0] in error
    assert error.count("\n") == 1


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of source, the defaults, examples."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for word in ("idx", "CIFAR", "Parquet", "tars", "zips", "demo:test", "256MiB", "examples:"):
        assert word in text


def test_what_packing_converts_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the values of 16-bit files and the option that gives their range, which is then used."""
    (tmp_path / "in").mkdir()
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for name in "abc":
        Image.fromarray(values).save(tmp_path / f"in/{name}.png")
    out = tmp_path / "out"
    arguments = [str(tmp_path / "in"), str(out), "--workers", "1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "note: 3 images: over 8 bits a value: scaled to 8; their values go from 0 to" in said
    assert "pack them with --value-range 0:4095" in said
    assert f"listed in {out}/converted.jsonl" in said
    assert main([*arguments, "--value-range", "0:4095", "--overwrite"]) == 0
    said = capsys.readouterr().out
    assert "--value-range" not in said
    assert len((out / "converted.jsonl").read_text().splitlines()) == 3
    with ShardReader(ShardIndex.open(out)) as reader:
        (image,) = reader.read(np.arange(1))
    assert isinstance(image, bytes)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(image))))) == 256


def test_one_command_gives_a_set_and_its_held_out_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are told, each image is in one, and the next command has both."""
    images, out = make_images(tmp_path / "images"), tmp_path / "out"
    Image.new("RGB", (8, 8)).save((images / "fox").mkdir() or images / "fox/0.png")
    assert main([str(images), str(out), "--workers", "1", "--hold-out", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith(f"{out}: 5 images, 3 classes")
    assert said[2].startswith(f"{out}-held-out: 2 images, 3 classes")
    assert said[3] == (
        f"note: without an image in {out}-held-out: 1 class (fox first), too small for this share"
    )
    assert said[4] == f"next: python -m trainer.run --data {out} --eval-data {out}-held-out"
    assert main([str(images), "--hold-out", "2", str(out)]) == 0
    assert capsys.readouterr().out.count("complete already") == 2


def test_labels_and_files_come_from_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in Tiny ImageNet's val: images/ and a text beside it; one class alone is told."""
    root = tmp_path / "val"
    (root / "images").mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (8, 8)).save(root / f"images/val_{i}.png")
    text = root / "val_annotations.txt"
    text.write_text("".join(f"val_{i}.png\tn{i % 2}\t0\t0\t9\t9\n" for i in range(4)))
    out = [str(tmp_path / "out"), "--workers", "1"]
    assert main([str(root), *out]) == 2
    assert f"--labels {text}" in capsys.readouterr().err
    assert main([str(root), *out, "--labels", str(text)]) == 0
    assert "4 images, 2 classes" in capsys.readouterr().out
    assert ShardIndex.open(tmp_path / "out").classes == ("n0", "n1")
    (tmp_path / "list").write_text("val_3\nval_0\n")
    files = ["--files", str(tmp_path / "list"), "--labels", str(text), "--overwrite"]
    assert main([str(root), *out, *files]) == 0
    assert "2 images, 2 classes" in capsys.readouterr().out
    (root / "val_annotations.txt").unlink()
    assert main([str(root), *out, "--overwrite"]) == 0
    assert "note: there is one class, and no score" in capsys.readouterr().out
