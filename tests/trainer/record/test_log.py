"""metrics.jsonl: one JSON line a record, whatever the values; a continued run repeats none."""

import json
from pathlib import Path

import pytest

from trainer.record.log import RunLog, read_metrics


def test_records_are_json_lines(tmp_path: Path) -> None:
    """Every line parses with a strict parser, infinities included, and reads back in order."""
    with RunLog(tmp_path) as run_log:
        run_log.write(1, {"loss": 0.5, "note": "x"})
        run_log.write(2, {"loss": float("nan"), "rank": float("inf")})

    def refuse(token: str) -> None:
        raise AssertionError(token)

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    parsed = [json.loads(line, parse_constant=refuse) for line in lines]
    assert parsed == read_metrics(tmp_path)
    for record in parsed:
        assert record.pop("time_s") >= 0
    assert parsed[0] == {"step": 1, "loss": 0.5, "note": "x"}
    assert parsed[1] == {"step": 2, "loss": "nan", "rank": "inf"}


def test_a_continued_run_drops_what_it_repeats(tmp_path: Path) -> None:
    """Records after the checkpoint's step go, the torn last line of a crash too; the rest stays."""
    with RunLog(tmp_path) as run_log:
        for step in range(1, 6):
            run_log.write(step, {"loss": float(step)})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 6, "lo')
    with RunLog(tmp_path, from_step=3) as run_log:
        run_log.write(4, {"loss": -4.0})
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2, 3, 4]
    assert read_metrics(tmp_path)[-1]["loss"] == -4.0


@pytest.mark.parametrize("torn", [b'{"step": 6, "lo', b"\x00\xff\xfe" * 50, b"5\n", b"{}\n"])
def test_what_a_power_cut_leaves_is_no_record(torn: bytes, tmp_path: Path) -> None:
    """Half a line, blocks that were never written, and a line that is no record."""
    with RunLog(tmp_path) as run_log:
        for step in (1, 2):
            run_log.write(step, {"loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2]
    with RunLog(tmp_path, from_step=2) as run_log:
        run_log.write(3, {"loss": 1.0})
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2, 3]


def test_time_goes_on_where_the_kept_records_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all starts; neither the time between them nor what is done again counts twice."""
    now = iter([100.0, 101.0, 102.0, 109.0, 5000.0, 5003.0])
    monkeypatch.setattr("trainer.record.log.time.monotonic", lambda: next(now))
    with RunLog(tmp_path) as run_log:
        for step in (1, 2, 3):
            run_log.write(step, {"loss": 1.0})
    with RunLog(tmp_path, from_step=2) as run_log:
        run_log.write(3, {"loss": 1.0})
    assert [(r["step"], r["time_s"]) for r in read_metrics(tmp_path)] == [(1, 1), (2, 2), (3, 5)]


def test_no_file_no_records(tmp_path: Path) -> None:
    """A run without metrics has none."""
    assert read_metrics(tmp_path) == []
