"""The word about a compile: who waits for one hears it, who does not hears nothing."""

import sys
import time
from types import SimpleNamespace

import pytest

import augengine.backends.fused as fused


@pytest.mark.parametrize(
    ("signatures", "hits", "on_terminal", "is_told"),
    [
        ([], {}, True, True),  # compiles
        ([], {"(args)": 1}, True, False),  # loads, slowly
        (["(args)"], {}, True, False),  # has compiled
        ([], {}, False, False),  # nobody watches
    ],
)
def test_a_first_call_that_compiles_says_so_on_a_terminal(
    signatures: list[str],
    hits: dict[str, int],
    on_terminal: bool,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A person hears why nothing moves; a log file, a later call and a kept kernel stay quiet."""
    kernel = SimpleNamespace(signatures=signatures, stats=SimpleNamespace(cache_hits=hits))
    monkeypatch.setattr(fused, "render_tasks", kernel)
    monkeypatch.setattr(fused, "PATIENCE_S", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    with fused._told_when_compiling():
        time.sleep(0.2)
    assert ("compiling the CPU kernels" in caplog.text) is is_told


def test_a_quick_first_call_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that ends before patience does is no news."""
    kernel = SimpleNamespace(signatures=[], stats=SimpleNamespace(cache_hits={}))
    monkeypatch.setattr(fused, "render_tasks", kernel)
    monkeypatch.setattr(fused, "PATIENCE_S", 0.2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with fused._told_when_compiling():
        pass
    time.sleep(0.4)
    assert not caplog.text
