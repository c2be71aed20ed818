"""A command's error is one line that a terminal may show, and an exit code."""

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
