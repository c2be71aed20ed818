"""A command's error is one line that a terminal may show, and an exit code."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.errors import DataError, UsageError, one_line, run_command


@pytest.mark.parametrize(("kind", "code"), [(UsageError, 2), (DataError, 1)])
def test_an_error_is_one_line(kind, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a file's names hold: no second line, no control characters, no end without end."""

    def main() -> int:
        raise kind("a rule,\ngot \x1b[2J\x07 and \udc80 " + "x" * 100_000 + "; the remedy")

    assert run_command(main) == code
    err = capsys.readouterr().err
    assert err.startswith(r"error: a rule, got \x1b[2J\x07 and \udc80 xxx")
    assert err.endswith("x; the remedy\n")
    assert len(err) < 3_000
    assert err.count("\n") == 1


def test_a_path_that_is_closed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is too long and a closed folder; what is not there is for its reader to say."""
    assert run_command(lambda: Path("x" * 300).is_dir()) == 1
    assert "got File name too long for xxx" in capsys.readouterr().err

    def closed() -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "sets/a")

    assert run_command(closed) == 1
    line = "error: a path is one that you may use, got Permission denied for sets/a; mend its "
    assert capsys.readouterr().err == f"{line}permissions, or name another\n"
    with pytest.raises(FileNotFoundError):
        run_command(lambda: Path("nowhere").stat().st_size)


def test_a_name_that_is_no_text_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its codes, and so is one whose letters the terminal's encoding lacks."""
    with open(tmp_path / "out", "w", encoding="ascii") as file:
        monkeypatch.setattr("sys.stdout", file)
        assert run_command(lambda: file.write("a\udce9\xe9b\n") and 0) == 0
    assert (tmp_path / "out").read_text() == "a\\udce9\\xe9b\n"


def test_ordinary_text_stays_as_it_is() -> None:
    """Letters of any script and short messages are not touched."""
    assert one_line("got ñ, 图, é") == "got ñ, 图, é"


@pytest.mark.parametrize(
    "ask", [lambda: np.zeros((1 << 30, 1 << 20)), lambda: torch.zeros(1 << 30, 1 << 20)]
)
def test_memory_that_cannot_be_had_is_one_line(ask, capsys: pytest.CaptureFixture[str]) -> None:
    """numpy's MemoryError and torch's RuntimeError of the host; another RuntimeError is ours."""
    assert run_command(ask) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: what is worked on at once fits into memory, got: ")
    assert err.count("\n") == 1
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run_command(fail)


def fail() -> int:
    raise RuntimeError("a mistake of ours")


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the file; another error of the system is ours to see."""

    def main() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "score.json")

    assert run_command(main) == 1
    err = capsys.readouterr().err
    assert err.startswith(
        "error: what is written has room on its disk, got No space left on device"
    )
    assert err.endswith(
        "for score.json; what was whole before is intact: free space and run it again\n"
    )
    with pytest.raises(IsADirectoryError):
        run_command(lambda: len(Path("/").read_bytes()))
