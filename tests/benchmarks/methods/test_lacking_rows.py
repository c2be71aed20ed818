"""Rows that are made once each, by several threads as by one."""

import json
from pathlib import Path
from threading import Barrier

import pytest

from benchmarks.methods.lacking_rows import Row, make_lacking, read_seeds
from shards.errors import DataError, UsageError


def name(what: Row) -> str:
    return f"run {what['n']}"


def written(out: Path) -> list[int]:
    return [row["n"] for row in json.loads(out.read_text())["rows"]]


def test_only_what_lacks_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed row is left out and said, and made by the next call; others are kept as they are."""
    out, made = tmp_path / "rows.json", []

    def measure(what: Row) -> Row:
        made.append(what["n"])
        if made.count(1) == 1 and what["n"] == 1:
            raise DataError("no room")
        return {"knn": 0.5, "random_knn": 0.25, "call": len(made)}

    wanted = [{"n": n} for n in range(3)]
    rows, failed = make_lacking(wanted, out, measure, name=name)
    assert failed == ["run 1"]
    assert "run 1: no room" in capsys.readouterr().err
    assert [row["n"] for row in rows] == written(out) == [0, 2]
    rows, failed = make_lacking(wanted, out, measure, name=name, place=lambda row: row["n"])
    assert (failed, made) == ([], [0, 1, 2, 1])
    assert written(out) == [0, 1, 2]
    assert [row["call"] for row in rows] == [1, 4, 3]
    assert "run 1: kNN 50.0%, +25.0" in capsys.readouterr().err


def test_rows_of_several_threads_are_all_written(tmp_path: Path) -> None:
    """Rows that end at the same moment do not overwrite each other's file."""
    out, together = tmp_path / "rows.json", Barrier(4)

    def measure(what: Row) -> Row:
        together.wait(timeout=30)
        return {"knn": 0.5, "random_knn": 0.25}

    for start in range(0, 40, 4):
        wanted = [{"n": n} for n in range(start, start + 4)]
        make_lacking(wanted, out, measure, name=name, place=lambda row: row["n"], jobs=4)
        assert written(out) == list(range(start + 4))


def test_seeds_are_checked() -> None:
    """Whole numbers."""
    assert read_seeds("0,1,20") == [0, 1, 20]
    for text in ("", "1,", "-1", "1.5", "one"):
        with pytest.raises(UsageError, match="--seeds are whole numbers"):
            read_seeds(text)
