"""A command's threads wait without spinning and share the cores, unless its user said otherwise."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.setup import threads
from trainer.setup.threads import WAIT_NAMES, available_cores, set_threads

ROOT = Path(__file__).parents[3]
# Each with the least that gets past its flags, which need no torch.
COMMANDS = {
    "trainer.run": [],
    "trainer.evaluate": ["RUN"],
    "trainer.export": ["RUN", "--out", "encoder.safetensors"],
    "tools.show_views": [],
    "tools.profile_augment": [],
}
# The functions of tools/commands.py for these.
INSTALLED = {
    "train": "trainer.run",
    "evaluate": "trainer.evaluate",
    "export": "trainer.export",
    "views": "tools.show_views",
    "profile": "tools.profile_augment",
}
# What torch finds when it is loaded, in a command that is run as the program.
WATCH = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch finds", os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
"""


def clean_environment(**values: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in WAIT_NAMES}
    return kept | {"PYTHONPATH": str(ROOT), **values}


def what_torch_finds(code: str, **values: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WATCH + code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=clean_environment(**values),
    )
    return done.stdout


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_sets_them_before_torch_is_loaded(module: str) -> None:
    """As `python -m`; the user's own value wins, whatever it is."""
    code = f"sys.argv = ['', *{COMMANDS[module]}]; "
    code += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    assert what_torch_finds(code) == "torch finds PASSIVE\n"
    assert what_torch_finds(code, OMP_WAIT_POLICY="ACTIVE") == "torch finds ACTIVE\n"
    assert what_torch_finds(code, GOMP_SPINCOUNT="100") == "torch finds None\n"


@pytest.mark.parametrize("name", INSTALLED)
def test_an_installed_command_sets_them_too(name: str) -> None:
    """Before it loads torch, by the function that pip's script calls."""
    code = f"sys.argv = ['', *{COMMANDS[INSTALLED[name]]}]; "
    code += f"from tools.commands import {name}; {name}()"
    assert what_torch_finds(code) == "torch finds PASSIVE\n"


@pytest.mark.parametrize("module", COMMANDS)
def test_nothing_comes_before(module: str) -> None:
    """Before the imports that take seconds."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    _, first, second, *_ = ast.parse(path.read_text()).body
    assert ast.unparse(first) == "from trainer.command.begin import begin"
    assert ast.unparse(second) == "if __name__ == '__main__':\n    begin()"


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_cores_of_process", lambda: 8)
    monkeypatch.setattr(threads, "_quota_of_container", lambda root: None)
    monkeypatch.setattr(threads, "_environment_of", lambda process: {"PATH"})


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ({}, None),  # OpenMP's own: all cores
        ({"LOCAL_WORLD_SIZE": "2"}, "4"),
        ({"LOCAL_WORLD_SIZE": "16"}, "1"),
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}, "4"),  # of torchrun, which was not told
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "1"}, "1"),
        ({"LOCAL_WORLD_SIZE": "2", "MKL_NUM_THREADS": "1"}, None),
    ],
)
@pytest.mark.usefixtures("eight_cores")
def test_ranks_of_a_machine_share_its_cores(given: dict[str, str], number: str | None) -> None:
    """Each gets its part; a number that a user gave stays."""
    environment = dict(given)
    set_threads(environment)
    assert environment.get("OMP_NUM_THREADS") == number


@pytest.mark.usefixtures("eight_cores")
def test_one_thread_that_torchrun_was_told_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS=1 torchrun ...; also where nobody can know whether it was told."""
    for names in ({"OMP_NUM_THREADS"}, None):
        monkeypatch.setattr(threads, "_environment_of", lambda process, n=names: n)
        environment = {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        set_threads(environment)
        assert environment["OMP_NUM_THREADS"] == "1"


def test_a_process_knows_what_its_parent_was_started_with() -> None:
    """What the parent set later, as torchrun does, is not among it."""
    child = "import os; from trainer.setup.threads import _environment_of as e; "
    child += "print(*('GIVEN' in e(os.getppid()), 'LATER' in e(os.getppid())))"
    code = "import os, subprocess, sys; os.environ['LATER'] = '1'; "
    code += f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    environment = clean_environment(GIVEN="1")
    if not Path("/proc/self/environ").exists():
        pytest.skip("the system does not tell")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "True False\n"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_a_containers_quota_counts(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 threads on a quota of two cores stand in each other's way."""
    monkeypatch.setattr(threads, "_cores_of_process", lambda: 8)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_cores(tmp_path) == cores


def test_a_quota_is_said_to_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take all cores of the machine."""
    monkeypatch.setattr(threads, "_cores_of_process", lambda: 8)
    monkeypatch.setattr(threads, "_quota_of_container", lambda root: 2.0)
    environment: dict[str, Any] = {}
    set_threads(environment)
    assert environment["OMP_NUM_THREADS"] == "2"
