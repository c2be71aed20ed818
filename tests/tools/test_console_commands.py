"""What pip installs works as it is typed, and tells people to type what there is."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tools.commands

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.scripts]\n")[2]
SCRIPTS = dict(re.findall(r'^(\S+) = "(.+)"$', SECTION.partition("\n\n")[0], re.MULTILINE))
# What pip writes into the folder of commands.
SCRIPT = """import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""
WRONG = {"augengine-evaluate": ["RUN"], "augengine-export": ["RUN", "--out", "x.safetensors"]}
WRONG |= {"augengine-shards": ["A", "B"], "augengine-check": ["DIR"]}
WRONG |= {"augengine-masks": ["A", "B"]}
WRONG |= {"augengine-embed": ["RUN", "--data", "D", "--out", "F"], "augengine-duplicates": ["F"]}
WRONG |= {"augengine-report": ["RUN"]}


@pytest.fixture
def type_in(tmp_path: Path):
    """Runs an installed command outside the checkout."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        module, _, function = SCRIPTS[name].partition(":")
        script = tmp_path / name
        script.write_text(SCRIPT.format(module=module, function=function), encoding="utf-8")
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        )

    return run


def test_every_function_is_a_command_and_every_command_a_function() -> None:
    """pyproject.toml and tools/commands.py name the same ones, which take no argument."""
    functions = dict(inspect.getmembers(tools.commands, inspect.isfunction))
    own = {name for name, f in functions.items() if f.__module__ == "tools.commands"}
    named = {target.partition(":")[2] for target in SCRIPTS.values()}
    assert named == {name for name in own if not name.startswith("_")}
    assert len(SCRIPTS) == 12
    for target in SCRIPTS.values():
        module, _, function = target.partition(":")
        command = getattr(importlib.import_module(module), function)
        assert not inspect.signature(command).parameters


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_help_shows_it_as_it_is_typed(name: str, type_in) -> None:
    """Usage and examples begin with its name; others that it names are there too."""
    done = type_in(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name} ")
    _, _, examples = done.stdout.partition("example")
    assert name in examples
    assert not re.findall(r"tools/\w+\.py", examples)
    assert type_in(name, "--version").stdout.startswith("augengine 0.")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_slip_names_it_as_it_is_typed(name: str, type_in) -> None:
    """One line with the command that shows more."""
    done = type_in(name, *WRONG.get(name, []), "--qqqqq")
    assert done.returncode == 2
    assert done.stderr == f"error: {name} has no flag --qqqqq; {name} --help shows all\n"


def test_in_a_checkout_the_file_is_named() -> None:
    """`python tools/show_views.py` is what was typed, so that is what the usage says."""
    for words in ("tools/show_views.py", "-m tools.show_views"):
        done = subprocess.run(
            [sys.executable, *words.split(), "--qqqqq"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        command = "python tools/show_views.py"
        assert done.stderr == f"error: {command} has no flag --qqqqq; {command} --help shows all\n"


def test_messages_name_commands_that_work_installed_too() -> None:
    """A file of tools/ is there in a checkout alone; `python -m tools.NAME` is in both."""
    named = {}
    for package in ("shards", "augengine", "trainer", "tools"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            # Docstrings, comments and examples are read in a checkout.
            text = re.sub(r'"""(?:.|\n)*?"""|^\s*#.*$|prog="[^"]*"', "", text, flags=re.MULTILINE)
            if found := re.findall(r"tools/\w+\.py", text):
                named[str(path.relative_to(ROOT))] = found
            for module in re.findall(r"python -m ([\w.]+)", text):
                place = ROOT / module.replace(".", "/")
                program = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
                assert program.is_file(), (path, module)
    assert not named
