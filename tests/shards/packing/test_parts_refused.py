"""Parts that cannot be made or joined: one line that names the part, and nothing is lost."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shards.format import PARTIAL_NAME, PARTS_NAME
from shards.packing import join_parts
from shards.packing.part import PART_NAME, Part
from shards.tars.members import iter_members
from tests.shards.packing.photo_parts import (
    SMALL,
    contents,
    make_parts,
    make_photos,
    packs,
    refused,
)
from tools import make_shards


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of three classes, not all good."""
    return make_photos(tmp_path / "photos")


@pytest.mark.parametrize("text", ["0/3", "4/3", "-1/3", "1", "1/0", "a/b", "1/100000", ""])
def test_a_part_is_one_of_1_to_n(
    photos: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything else is refused before SOURCE is read, with what to type under SLURM."""
    line = refused(capsys, 2, photos, tmp_path / "set", f"--part={text}")
    assert "I from 1 to N" in line
    assert "--part $SLURM_ARRAY_TASK_ID/4" in line
    assert not (tmp_path / "set").exists()


def test_a_part_that_does_not_fit_is_refused_when_it_is_made(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another N, other options, another source, a pack in one go, --overwrite; nothing is lost."""
    out = tmp_path / "set"
    packs(photos, out, *SMALL, "--part", "1/3")
    before = sorted(out.rglob("*"))
    again = (photos, out, *SMALL)
    assert "the same N, got --part 2/4" in refused(capsys, 2, *again, "--part", "2/4")
    line = refused(capsys, 2, *again, "--part", "2/3", "--seed", 1)
    assert "part 1/3 has other options: seed 0 and 1" in line
    assert "join them with --join" in refused(capsys, 2, *again)
    assert "join them with --join" in refused(capsys, 2, *again, "--overwrite")
    assert "a part replaces nothing" in refused(capsys, 2, *again, "--part", "2/3", "--overwrite")
    (photos / "class0/new.png").write_bytes(b"")
    line = refused(capsys, 2, *again, "--part", "2/3")
    assert "part 1/3 has another source, or one that changed" in line
    assert sorted(out.rglob("*")) == before


def joined_of(one: Path, other: Path, out: Path) -> None:
    """Put the part of another folder beside that of one, as a copy between machines would."""
    shutil.copytree(one, out)
    shutil.copytree(other / PARTS_NAME, out / PARTS_NAME, dirs_exist_ok=True)


def test_parts_that_do_not_belong_together_are_not_joined(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing part, another N, other options, another source: the line names the part."""
    packs(photos, tmp_path / "a", *SMALL, "--part", "1/2")
    assert "without 2/2; make what is missing" in refused(capsys, 2, "--join", tmp_path / "a")
    packs(photos, tmp_path / "b", *SMALL, "--part", "3/3")
    packs(photos, tmp_path / "c", *SMALL, "--part", "2/2", "--name", "val")
    (photos / "class0/0.png").unlink()
    packs(photos, tmp_path / "d", *SMALL, "--part", "2/2")
    for other, expected in (
        ("b", "1/2 beside 3/3"),
        ("c", "part 2/2 in .* with other options: name train and val"),
        ("d", "part 2/2 in .* with another source"),
    ):
        out = tmp_path / f"a{other}"
        joined_of(tmp_path / "a", tmp_path / other, out)
        before = sorted(out.rglob("*"))
        line = refused(capsys, 2, "--join", out)
        assert re.search(expected, line)
        assert sorted(out.rglob("*")) == before
    assert "without any" in refused(capsys, 2, "--join", tmp_path / "nowhere")
    assert "got SOURCE" in refused(capsys, 2, photos, "--join", tmp_path / "a")
    assert "got --seed" in refused(capsys, 2, "--join", tmp_path / "a", "--seed", "1")


def flip(path: Path) -> None:
    """Change a byte of an image, which no header tells."""
    image = next(member for member in iter_members(path) if member.extension in ("jpg", "png"))
    flip_byte(path, image.offset + image.size // 2)


def flip_byte(path: Path, position: int) -> None:
    """Change a byte of a file, and nothing of its size."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def flip_records(path: Path) -> None:
    """Change a byte of its records."""
    flip_byte(path.with_suffix(".records"), 40)


def flip_bounds(path: Path) -> None:
    """Have its second sample begin elsewhere."""
    flip_byte(path.with_suffix(".bounds"), 9)


def forge_bounds(path: Path) -> None:
    """Have its samples end behind the tar, and say so."""
    beside, described = path.with_suffix(".bounds"), path.parents[1] / PART_NAME
    bounds = np.fromfile(beside, np.int64)
    bounds[-1] = 1 << 40
    bounds.tofile(beside)
    content = json.loads(described.read_text())
    everything = b"".join(p.read_bytes() for p in sorted(path.parent.glob("*.bounds")))
    content["bounds_sha256"] = hashlib.sha256(everything).hexdigest()
    described.write_text(json.dumps(content))


def drop_list(path: Path) -> None:
    """Lose the list of images that were left out."""
    (path.parents[1] / "quarantine.jsonl").unlink()


def break_description(path: Path) -> None:
    """Lose what says that the part is whole."""
    (path.parents[1] / PART_NAME).write_text("{}")


def name_a_path(path: Path) -> None:
    """Have the shards of the set called so that they lie elsewhere."""
    described = path.parents[1] / PART_NAME
    content = json.loads(described.read_text())
    content["recipe"]["options"]["name"] = "../../elsewhere"
    described.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        *(flip, Path.unlink, flip_records, flip_bounds, forge_bounds),
        *(drop_list, break_description, name_a_path),
    ],
)
def test_a_part_that_changed_is_named(
    photos: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line, before a shard is written; made again, the parts are the set."""
    out = tmp_path / "set"
    packs(photos, tmp_path / "one", *SMALL)
    make_parts(photos, out, 1)
    folder = Part(1, 1).folder(out)
    change(folder / PARTIAL_NAME / "train-000000.tar")
    line = refused(capsys, 1, "--join", out)
    assert str(folder) in line
    assert not (out / PARTIAL_NAME).exists()
    shutil.rmtree(folder)
    make_parts(photos, out, 1)
    packs("--join", out)
    assert contents(out) == contents(tmp_path / "one")


def test_a_part_that_changes_meanwhile_is_not_published(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is made anew between the check and the end of the join: no set, and the part's name."""
    out, original = tmp_path / "set", join_parts.write_cut
    make_parts(photos, out, 2)

    def writes_and_changes(cut: object) -> object:
        flip(Part(2, 2).folder(out) / PARTIAL_NAME / "train-000000.tar")
        return original(cut)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(join_parts, "write_cut", writes_and_changes)
        assert "make part 2/2 again" in refused(capsys, 1, "--join", out)
    assert not list(out.glob("*.tar"))


def test_no_good_image_is_refused_at_the_join(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part may have none, the set may not."""
    torn = tmp_path / "torn"
    torn.mkdir()
    for number in range(3):
        (torn / f"{number}.png").write_bytes(b"torn")
    for number in (1, 2):
        packs(torn, tmp_path / "set", *SMALL, "--part", f"{number}/2")
    assert "at least one good image" in refused(capsys, 1, "--join", tmp_path / "set")


def test_a_part_stops_at_a_bad_image_when_told_to(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the image, nothing of the part stays, and the others are as they were."""
    out = tmp_path / "set"
    again = [str(photos), str(out), *SMALL, "--on-bad", "fail", "--part"]
    codes = []
    for number in range(1, 6):
        codes.append(make_shards.main([*again, f"{number}/5"]))
        assert Part(number, 5).folder(out).exists() == (codes[-1] == 0)
    assert 0 in codes
    assert 1 in codes
    assert "24.png" in capsys.readouterr().err
    packs_none = (photos, tmp_path / "other", *SMALL, "--on-bad", "fail", "--part", "1/1")
    assert "every image must decode" in refused(capsys, 1, *packs_none)
    assert not (tmp_path / "other").exists()
