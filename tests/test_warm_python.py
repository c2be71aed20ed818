"""A warm start is a start: what a command writes, says and ends with is that of a cold one."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typed import typed
from warm_python import environment, warm_python

from trainer import checkpoint

SMALL = "--views 2 --sizes 16 --arch resnet10 backbone.width=0.125 --device cpu"
# From a set to a page; those of tools/ start cold in their own tests.
COMMANDS = (
    "python -m trainer.run --data {set} --eval-data {set} --out run --epochs 2 eval.k=3 " + SMALL,
    "python -m trainer.evaluate run --json scores.json",
    "python -m trainer.export run --out encoder.safetensors",
    "python -m trainer.embed run --data {set} --out features.npy",
    "python -m trainer.report run",
)
# Ends of a process: one's own code, a message, errors, signals, and what the program finds.
ENDS = {
    "code": "import os; os._exit(300)",
    "message": "import sys; sys.exit('a message')",
    "error": "1 / 0",
    "Ctrl-C": "raise KeyboardInterrupt",
    "SIGTERM": "import os; os.kill(os.getpid(), 15)",
    "SIGKILL": "import os; os.kill(os.getpid(), 9)",
    "arguments": "import os, sys; print(sys.argv, sys.path[:3], os.getcwd(), os.environ['MINE'])",
    "input": "import sys; print(sys.stdin.read().upper())",
}


@pytest.mark.slow
def test_every_command_does_the_same_cold_and_warm(indexed_folder: Path, tmp_path: Path) -> None:
    """Every tensor that was learned or exported, the bytes of the features, the scores, a page."""
    for name in ("cold", "warm"):
        folder = tmp_path / name
        folder.mkdir()
        for command in COMMANDS:
            typed(command.format(set=indexed_folder), folder, cold=name == "cold")
    cold, warm = tmp_path / "cold", tmp_path / "warm"
    features = [(folder / "features.npy").read_bytes() for folder in (cold, warm)]
    assert features[0] == features[1]
    runs = [checkpoint.load(checkpoint.find(folder / "run"))["method"] for folder in (cold, warm)]
    encoders = [load_file(folder / "encoder.safetensors") for folder in (cold, warm)]
    for one, other in (runs, encoders):
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    scores = [json.loads((folder / "scores.json").read_text()) for folder in (cold, warm)]
    assert scores[0]["scores"] == scores[1]["scores"]
    assert all((folder / "run" / "report.html").is_file() for folder in (cold, warm))


def run(python: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = environment() | {"MINE": "yes"} | variables
    return subprocess.run(
        [python, *words], input="words", capture_output=True, text=True, env=env, timeout=120
    )


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_a_process_ends_as_if_it_were_cold(code: str) -> None:
    """The same exit code or signal, output and last words."""
    cold, warm = (run(python, "-c", code, "x") for python in (sys.executable, warm_python()))
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout)
    assert warm.stderr[-30:] == cold.stderr[-30:]


def test_a_module_that_is_not_there_is_said() -> None:
    """Its name, and exit code 1."""
    done = run(warm_python(), "-m", "trainer.no_such")
    assert done.returncode == 1
    assert done.stderr.endswith("No module named trainer.no_such\n")


# In short sleeps: a signal between Python's look for one and a long sleep would wait for its end.
WAITS = "import time; print('here', flush=True); [time.sleep(0.01) for _ in range(10_000)]"


def test_signals_reach_the_command() -> None:
    """What is sent to the process that was started is handled by the program that was typed."""
    code = f"import signal, sys; signal.signal(10, lambda *_: sys.exit(7)); {WAITS}"
    for number, expected in ((signal.SIGUSR1, 7), (signal.SIGTERM, -15), (signal.SIGINT, -2)):
        words = [warm_python(), "-c", code]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(words, env=environment(), **pipes) as process:
            assert process.stdout.readline() == b"here\n"
            process.send_signal(number)
            assert process.wait(60) == expected


def test_who_kills_the_process_kills_the_command() -> None:
    """SIGKILL cannot be passed on, yet nothing stays."""
    code = "import os; print(os.getpid(), flush=True); import time; time.sleep(100)"
    words = [warm_python(), "-c", code]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        process.kill()
        assert process.stdout.read() == b""  # until the last that could write has ended
    run(warm_python(), "-c", "")  # the server has been through its loop
    assert not os.path.exists(f"/proc/{pid}")


LOADED = "import sys; print('torch' in sys.modules, sys.flags.dev_mode, len(sys.argv))"


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ((), {}, "True False 1"),
        ((), {"KMP_INIT_AT_FORK": "FALSE", "TORCHINDUCTOR_CACHE_DIR": "x"}, "True False 1"),
        ((), {"OMP_NUM_THREADS": "2"}, "False False 1"),
        ((), {"NUMBA_DEBUG_CACHE": "0"}, "False False 1"),
        (("-X", "dev"), {}, "False True 1"),
    ],
)
def test_what_only_a_cold_start_can_obey_starts_cold(
    words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    """Flags of Python, and variables that libraries read while they are imported."""
    assert run(warm_python(), *words, "-c", LOADED, **variables).stdout.strip() == said


def test_a_fork_has_computed_nothing() -> None:
    """No thread but its own, and numpy's own random numbers are another process's."""
    code = (
        "import os, numpy as np; "
        "print(*os.listdir('/proc/self/task'), os.getpid(), np.random.rand())"
    )
    first, second = (run(warm_python(), "-c", code).stdout.split() for _ in range(2))
    assert first[0] == first[1]
    assert re.fullmatch(r"0\.\d+", first[2])
    assert first[2] != second[2]
