"""The first signal is remembered, its echo is nothing, and one that comes later stops at once."""

import ast
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.watch import interrupt
from trainer.watch.interrupt import SIGNALS, GracefulInterrupt

ROOT = Path(__file__).parents[3]
COMMANDS = ("tools/make_shards.py", "tools/check_shards.py", "tools/simulate_epoch.py")


@pytest.mark.parametrize("number", SIGNALS)
def test_an_echo_of_a_signal_is_nothing(number: signal.Signals) -> None:
    """torchrun's copy of it comes at once and kills nothing; former handlers come back."""
    former = signal.getsignal(number)
    with GracefulInterrupt() as graceful:
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert graceful.number == number
    assert signal.getsignal(number) == former


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_answered_at_once(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once, on the first rank only, before the step is done; the echo is nothing."""
    with GracefulInterrupt(), GracefulInterrupt(quiet=True) as other:
        signal.raise_signal(number)
        assert other.number == number
        assert capfd.readouterr().err == ""
    with GracefulInterrupt():
        signal.raise_signal(number)
        assert capfd.readouterr().err == f"{interrupt.ANSWER}\n"
        signal.raise_signal(number)
        assert capfd.readouterr().err == ""


def test_a_later_signal_is_taken_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C again, by someone who cannot wait, is Python's own KeyboardInterrupt."""
    monkeypatch.setattr(interrupt, "ECHO_S", 0.05)
    with GracefulInterrupt() as graceful:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert graceful.number == signal.SIGINT


@pytest.mark.parametrize("command", ["trainer.run", "trainer.evaluate RUN", "tools.show_views"])
def test_ctrl_c_while_torch_is_loaded_is_one_word(command: str) -> None:
    """Past the flags too, where a command imports the rest of itself."""
    module, *arguments = command.split()
    code = f"""
import runpy, signal, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Watch())
sys.argv = ["", *{arguments}]
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stderr == "interrupted\n"
    assert done.returncode == 130


def test_ctrl_c_while_importing_is_one_word() -> None:
    """No traceback of the library that was being imported; any other error keeps its own."""
    code = "from trainer.watch.interrupt import quiet_interrupt; quiet_interrupt(); raise "
    for error, words in (("KeyboardInterrupt", "interrupted\n"), ("KeyError(1)", "KeyError: 1\n")):
        done = subprocess.run(
            [sys.executable, "-c", code + error],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.stderr.endswith(words)
        assert ("Traceback" in done.stderr) == (error != "KeyboardInterrupt")
        assert (done.returncode == -signal.SIGINT) == (error == "KeyboardInterrupt")


@pytest.mark.parametrize("path", COMMANDS)
def test_commands_are_quiet_from_their_first_line(path: str) -> None:
    """Before the imports that take seconds; those that load torch: test_threads.py."""
    _, first, second, *_ = ast.parse((ROOT / path).read_text()).body
    assert ast.unparse(first) == "from trainer.watch.interrupt import quiet_interrupt"
    assert ast.unparse(second) == "if __name__ == '__main__':\n    quiet_interrupt()"


IGNORING = """
import os, signal, sys
from trainer.watch.interrupt import GracefulInterrupt
with GracefulInterrupt() as graceful:
    for name in sys.argv[1:]:
        os.kill(os.getpid(), getattr(signal, name))
        print(name, graceful.number)
print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""


def in_the_background(*command: str) -> subprocess.CompletedProcess[str]:
    """Run it as a script's `command &` does: with Ctrl-C ignored."""
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    return subprocess.run(shell, capture_output=True, text=True, check=False, cwd=ROOT)


def test_a_run_in_the_background_does_not_hear_ctrl_c() -> None:
    """It belongs to the program in the foreground; SIGTERM and SIGUSR1 are heard as ever."""
    for name in ("SIGTERM", "SIGUSR1"):
        done = in_the_background(sys.executable, "-c", IGNORING, "SIGINT", name)
        number = int(getattr(signal, name))
        assert done.stdout == f"SIGINT 0\n{name} {number}\nTrue\n", done.stderr


def test_these_tests_pass_in_the_background() -> None:
    """`nohup make test &` says what `make test` says."""
    command = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/shards/processes/test_workers.py",
    )
    done = in_the_background(sys.executable, *command)
    assert done.returncode == 0, done.stdout
