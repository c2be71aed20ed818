"""The first signal is remembered, its echo is nothing, and one that comes later stops at once."""

import signal
import time

import pytest

from trainer import interrupt
from trainer.interrupt import SIGNALS, GracefulInterrupt


@pytest.mark.parametrize("number", SIGNALS)
def test_an_echo_of_a_signal_is_nothing(number: signal.Signals) -> None:
    """torchrun's copy of it comes at once and kills nothing; former handlers come back."""
    former = signal.getsignal(number)
    with GracefulInterrupt() as graceful:
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert graceful.number == number
    assert signal.getsignal(number) == former


def test_a_later_signal_is_taken_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C again, by someone who cannot wait, is Python's own KeyboardInterrupt."""
    monkeypatch.setattr(interrupt, "ECHO_S", 0.05)
    with GracefulInterrupt() as graceful:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert graceful.number == signal.SIGINT
