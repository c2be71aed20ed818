"""A file that a command cannot write is refused before the command works for it."""

import os
from pathlib import Path

import pytest

from shards.errors import UsageError
from shards.terminal.output_file import check_output


def test_what_can_be_written_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file, one that is there, an ending in capitals, a bare name, a device, and no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").touch()
    for path in (None, tmp_path / "new.json", tmp_path / "there.json", Path("new"), Path("a.PNG")):
        check_output("--json", path)
    check_output("--png", Path("a.PNG"), (".png",))
    check_output("--json", Path("/dev/stdout"))
    assert os.listdir(tmp_path) == ["there.json"]


ENDING = "--png is a file that ends with .png or .webp"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/such.png", "--png is a file in an existing folder, got {0}/no/such.png; make {0}/no"),
        ("folder.png", "--png is a file, got the folder {0}/folder.png; name a file in it"),
        ("x.txt", f"{ENDING}, got {{0}}/x.txt; try --png {{0}}/x.png"),
        ("plain", f"{ENDING}, got {{0}}/plain; try --png {{0}}/plain.png"),
        ("file/x.png", "--png is a file in an existing folder, got {0}/file/x.png"),
    ],
)
def test_what_cannot_be_is_one_line(path: str, words: str, tmp_path: Path) -> None:
    """Rule, value and remedy."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        check_output("--png", tmp_path / path, (".png", ".webp"))
    assert str(caught.value).startswith(words.format(tmp_path))


def test_a_closed_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the answer of the system is set here."""
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    with pytest.raises(UsageError, match="in a folder that is closed to us; name another"):
        check_output("--json", tmp_path / "new.json")
