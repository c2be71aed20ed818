"""Parts of a set, through the command: joined, they are what one process packs, byte for byte."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from shards.errors import DataError
from shards.format import PARTS_NAME
from shards.index import ShardIndex
from shards.packing.part import PART_NAME, Part
from tests.shards.packing.photo_parts import SMALL, contents, make_parts, make_photos, packs
from tests.shards.packing.test_pack_interrupted import kill_at
from tools import check_shards, make_shards


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of three classes, not all good."""
    return make_photos(tmp_path / "photos")


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5, 50])
def test_joined_parts_are_the_set_of_one_process(
    photos: Path, tmp_path: Path, num_parts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """All files, byte for byte: shards, index, manifest, both lists; also with more parts than
    images. Nothing of the parts stays, and the set passes the check.
    """
    one, out = tmp_path / "one", tmp_path / "set"
    packs(photos, one, *SMALL)
    assert len(list(one.glob("*.tar"))) >= 3
    assert {"quarantine.jsonl", "converted.jsonl"} <= set(contents(one))
    make_parts(photos, out, num_parts)
    with pytest.raises(DataError, match="not joined"):
        ShardIndex.open(out)
    packs("--join", out)
    assert contents(out) == contents(one)
    assert len(ShardIndex.open(out)) == 38
    assert check_shards.main([str(out)]) == 0
    capsys.readouterr()
    packs("--join", out)
    packs(photos, out, *SMALL, "--part", f"1/{num_parts}")
    assert capsys.readouterr().out.count("complete already, nothing was packed") == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--resize", 12, "--seed", 3),
        ("--limit", 25, "--skip", 4),
        ("--skip-list", "skip.txt"),
        ("--files", "files.txt"),
        ("--labels", "labels.csv"),
        ("--shard-size", "1KiB"),
    ],
    ids=lambda options: options[0],
)
def test_options_mean_the_same_to_parts(
    photos: Path, tmp_path: Path, options: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists of labels, files and images to skip, shares, sizes; a shard of each image too."""
    monkeypatch.chdir(tmp_path)
    names = [str(path.relative_to(photos)) for path in sorted(photos.rglob("*.*"))]
    Path("skip.txt").write_text("\n".join(names[::5]))
    Path("files.txt").write_text("\n".join(names[::2]))
    Path("labels.csv").write_text("\n".join(f"{name},{len(name) % 2}" for name in names[1:]))
    packs(photos, "one", *SMALL, *options)
    make_parts(photos, Path("set"), 3, *options)
    packs("--join", "set")
    assert contents(Path("set")) == contents(Path("one"))


def test_both_sets_of_a_hold_out_are_made_in_parts(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part has its share of each; one --join makes both, and says which classes one lacks."""
    options = (*SMALL, "--hold-out", "2", "--held-out")
    packs(photos, tmp_path / "one", *options, tmp_path / "one-held")
    [absent] = re.findall("held: .* first", capsys.readouterr().out)
    make_parts(photos, tmp_path / "set", 3, *options[-3:], tmp_path / "held")
    assert f"--join {tmp_path}/set --held-out {tmp_path}/held\n" in capsys.readouterr().out
    assert make_shards.main(["--join", str(tmp_path / "set")]) == 2
    assert "name it with --held-out DIR" in capsys.readouterr().err
    missing = Part(2, 3).folder(tmp_path / "held") / PART_NAME
    kept = missing.read_bytes()
    missing.unlink()
    command = ["--join", str(tmp_path / "set"), "--held-out", str(tmp_path / "held")]
    assert make_shards.main(command) == 2
    assert "2/3 was begun" in capsys.readouterr().err
    assert not list((tmp_path / "set").glob("*.tar"))
    missing.write_bytes(kept)
    packs(*command)
    assert absent in capsys.readouterr().out
    assert contents(tmp_path / "set") == contents(tmp_path / "one")
    assert contents(tmp_path / "held") == contents(tmp_path / "one-held")


@pytest.mark.parametrize("call", [1, 2, 4, 6, 8])
def test_a_killed_part_goes_on(
    photos: Path, tmp_path: Path, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any rename, it is missing; the same command ends with the same bytes."""
    packs(photos, tmp_path / "one", *SMALL)
    out, killed = tmp_path / "set", [str(photos), str(tmp_path / "set"), *SMALL, "--part", "1/2"]
    with monkeypatch.context() as patch:
        kill_at(patch, os, "replace", call)
        assert make_shards.main(killed) == 130
    packs(photos, out, *SMALL, "--part", "2/2")
    assert make_shards.main(["--join", str(out)]) == 2
    packs(*killed)
    packs("--join", out)
    assert contents(out) == contents(tmp_path / "one")


def test_parts_of_an_older_release_are_joined(photos: Path, tmp_path: Path) -> None:
    """They note no bounds: their tars are scanned, to the same bytes."""
    out = tmp_path / "set"
    packs(photos, tmp_path / "one", *SMALL)
    make_parts(photos, out, 2)
    for described in out.rglob(PART_NAME):
        content = json.loads(described.read_text())
        del content["bounds_sha256"]
        described.write_text(json.dumps(content))
    for bounds in list(out.rglob("*.bounds")):
        bounds.unlink()
    packs("--join", out)
    assert contents(out) == contents(tmp_path / "one")


@pytest.mark.slow
def test_a_killed_join_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any rename, no set is there and no part is lost."""
    packs(photos, tmp_path / "one", *SMALL)
    make_parts(photos, tmp_path / "parts", 2)
    for call in range(1, 100):
        out = tmp_path / str(call)
        shutil.copytree(tmp_path / "parts", out)
        with monkeypatch.context() as patch:
            kill_at(patch, os, "replace", call)
            code = make_shards.main(["--join", str(out)])
        if code == 0:
            break
        assert code == 130
        assert (out / PARTS_NAME).is_dir()
        with pytest.raises(DataError, match="not joined"):
            ShardIndex.open(out)
        packs("--join", out)
        assert contents(out) == contents(tmp_path / "one")
    assert call > 10
