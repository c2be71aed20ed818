"""Jobs give the same results in processes and here, and a bar changes none of them."""

import sys

import pytest

from shards.processes.parallel import run_jobs, with_bar


def square(number: int) -> int:
    """A job; negative numbers fail."""
    if number < 0:
        raise ValueError(f"got {number}")
    return number * number


@pytest.mark.parametrize("size_bytes", [0, 1 << 40])
def test_every_job_has_its_result(size_bytes: int) -> None:
    """Positions tell which result is whose, in any order."""
    results = dict(run_jobs(square, [3, 1, 2], size_bytes=size_bytes, workers=2))
    assert results == {0: 9, 1: 1, 2: 4}


@pytest.mark.parametrize("size_bytes", [0, 1 << 40])
def test_an_exception_of_a_job_comes_out(size_bytes: int) -> None:
    """It is the job's own, also from another process."""
    with pytest.raises(ValueError, match="got -1"):
        list(run_jobs(square, [1, -1], size_bytes=size_bytes, workers=2))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_on_terminals_only(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results pass through; a log file gets nothing."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    results = [(1, "b"), (0, "a")]
    assert list(with_bar(iter(results), "working", [5, 7], show=True)) == results
    assert ("working" in capsys.readouterr().err) == terminal
    assert list(with_bar(iter(results), "working", [5, 7], show=False)) == results
    assert capsys.readouterr() == ("", "")
