"""The command says in a line that all is well, or names what is not and exits with 1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_shards import main

ROOT = Path(__file__).parents[2]


def test_a_whole_folder_passes(shard_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stdout, nothing on stderr."""
    assert main([str(shard_folder)]) == 0
    out, err = capsys.readouterr()
    assert "all is well: 37 images decoded, 3 shards (0 with a sha256)" in out
    assert out.count("\n") == 1
    assert err == ""


def test_bad_things_are_named(new_shards, capsys: pytest.CaptureFixture[str]) -> None:
    """Each on a line, then one error line with the remedy; exit code 1."""
    folder = new_shards()
    assert main([str(folder), "--no-decode"]) == 0
    os.truncate(folder / "train-000001.tar", 6000)
    (folder / "train-000002.tar").unlink()
    capsys.readouterr()
    assert main([str(folder)]) == 1
    out, err = capsys.readouterr()
    *lines, last = err.splitlines()
    assert out == ""
    assert "bad: train-000002.tar: missing" in lines
    assert all(line.startswith("bad: train-00000") for line in lines)
    assert last.startswith(f"error: shards must be what their index says, got {len(lines)} bad")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing"], 1, "nothing there"),
        (["."], 1, "tools.make_shards"),
        (["ftp://host/x"], 2, "remote shards lie at s3://"),
        (["s3://bucket/x", "--export", "wids"], 2, "local folder, got s3://bucket/x"),
        ([".", "--workers", "0"], 2, "--workers is a whole number from 1 on"),
        ([".", "--workers", "two"], 2, "from 1 on, got two; try 1"),
        ([".", "--export", "dali,tfrecord"], 2, "must be of dali, wids, got 'tfrecord'"),
        ([], 2, "DIR"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """Run as a user does, in an empty folder: the exit code, a line, no traceback."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "check_shards.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "error: " in line]) == 1


def test_exports_are_written_on_request(new_shards, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing without the flag; a .idx for each tar and one wids.json with it."""
    folder = new_shards()
    assert main([str(folder), "--no-decode"]) == 0
    assert not list(folder.glob("*.idx"))
    assert main([str(folder), "--no-decode", "--export", "dali,wids"]) == 0
    assert len(list(folder.glob("*.idx"))) == 3
    assert (folder / "wids.json").is_file()
    assert "dali: wrote 3 files" in capsys.readouterr().out


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """It has an example and the meaning of the exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "python tools/check_shards.py data/demo" in out
    assert "exit code: 0" in out
