"""Rules a reader relies on: who imports whom, what an import costs, how long a file is."""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shards", "augengine", "trainer", "tools")  # low to high
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
# Packages that lie as a spine of a few files and wings with names.
WINGED = ("shards", "augengine", "trainer")
MOST_IN_A_SPINE = 10
# Importing any of these without asking for a device, a backend or a plot would be a surprise.
HEAVY = ("torch", "nvidia", "kornia", "numba", "triton")
HEAVY += ("matplotlib", "tensorboard", "pyarrow", "timm")
# What torch brings only when it is asked to compile or to log: seconds, and as much memory again.
HEAVY += ("torch._dynamo", "torch._inductor", "sympy", "boto3", "pandas", "torchvision")
# Commands that only say something, and what each of them may load all the same.
SAYING: dict[str, tuple[str, ...]] = {
    "-m trainer.run --help": (),
    "-m trainer.run --list": (),
    "-m trainer.run --version": (),
    "-m trainer.run --seed x": (),
    # A method's settings stand beside it, and unknown flags are looked up among them.
    "-m trainer.run --print-config": ("torch",),
    "-m trainer.run --unknown": ("torch",),
    "-m trainer.evaluate --help": (),
    "-m trainer.evaluate": (),
    "-m trainer.export --help": (),
    "-m trainer.export RUN": (),
    "-m trainer.embed --help": (),
    "-m trainer.embed RUN": (),
    "-m trainer.report --help": (),
    "-m trainer.report": (),
    "tools/make_shards.py --help": (),
    "tools/check_shards.py --help": (),
    "tools/make_masks.py --help": (),
    "tools/find_duplicates.py --help": (),
    "tools/show_views.py --help": (),
    "tools/show_views.py --epoch x": (),
}


def modules_of(package: str) -> list[Path]:
    """Its files; there are some."""
    found = [path for path in MODULES if path.relative_to(ROOT).parts[0] == package]
    assert found
    return found


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module a file imports, at the top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; imports are absolute"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str) -> None:
    """A package imports itself and the packages below it, never one above."""
    above = {*PACKAGES[PACKAGES.index(package) + 1 :], "tests", "benchmarks"}
    for path in modules_of(package):
        assert not {name for name in imported(path) if name.split(".")[0] in above}, path


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_through_a_package(package: str) -> None:
    """Names come from the module that defines them, so that no import knot can grow."""
    for path in modules_of(package):
        bare = {name for name in imported(path) if name in PACKAGES}
        assert path.name == "__init__.py" or not bare, path


@pytest.mark.parametrize("package", PACKAGES)
def test_a_file_holds_one_idea(package: str) -> None:
    """No source file is longer than 250 lines (300 for a kernel)."""
    for path in modules_of(package):
        limit = 300 if "kernels" in path.parts else 250
        assert len(path.read_text().splitlines()) <= limit, path


@pytest.mark.parametrize("package", WINGED)
def test_a_spine_is_short_and_introduced(package: str) -> None:
    """A newcomer reads ten files at most, and the package's docstring names each of them."""
    spine = [path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
    introduction = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    assert len(spine) <= MOST_IN_A_SPINE
    assert not [name for name in spine if name not in introduction]


@pytest.mark.parametrize("package", WINGED)
def test_a_file_has_a_name_of_its_own(package: str) -> None:
    """Nobody who is told a file's name has to ask which one; a loss may have its method's."""
    losses = ROOT / "trainer" / "losses"
    names = [path.name for path in MODULES if path.parent != losses]
    ours = {path.name for path in (ROOT / package).rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert not [name for name in ours if names.count(name) > 1]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_light(package: str) -> None:
    """`import PACKAGE` loads no torch, no backend and no plotting library."""
    code = f"import sys, {package}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.split() == []


def test_the_names_of_augengine_are_there_when_asked_for() -> None:
    """Each public name is its module's own; another one is an AttributeError."""
    import augengine

    assert {"ViewLoader", "draw_plan"} <= set(augengine.__all__) <= set(dir(augengine))
    for name in augengine.__all__:
        assert getattr(augengine, name).__module__.startswith("augengine.")
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        augengine.no_such_name  # noqa: B018


@pytest.mark.parametrize("command", SAYING)
def test_a_command_that_only_says_something_loads_little(command: str) -> None:
    """A help text, a list or a usage error needs no torch, and none of them what torch may bring.

    It ends as it should too: 0, or 2 for a usage error.
    """
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    lines = done.stderr.splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert "shards.errors" in loaded
    assert loaded & set(HEAVY) == set(SAYING[command])
    is_said = command.endswith(("--help", "--list", "--version", "--print-config"))
    assert done.returncode == (0 if is_said else 2)


LATER = [pytest.param(f"{name}_demo", marks=pytest.mark.long) for name in ("dino", "mocov2")]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["swav_demo", *LATER])
def test_a_run_loads_little_before_its_first_step(recipe: str, tmp_path: Path) -> None:
    """Fused views on the CPU, evaluation and all: no compiler, no TensorBoard, no other backend.

    An optimizer of each kind: swav_demo's SGD, dino_demo's AdamW; mocov2_demo has a queue.
    """
    code = f"""
import sys
import trainer.train
from trainer.run import main
def stop(*_):
    print("loaded", *[m for m in {HEAVY!r} if m in sys.modules])
    raise KeyboardInterrupt
trainer.train.optimizer_step = stop
main(sys.argv[1:])
"""
    arguments = f"--config {recipe} --epochs 1 --out {tmp_path / 'run'} --device cpu"
    arguments += " --backend fused eval.max_train_images=64 eval.max_test_images=64"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("loaded")]
    # DALI decodes twice as fast as Pillow on the CPU too.
    assert set(line.split()[1:]) <= {"torch", "numba", "nvidia"}


def test_test_files_have_names_of_their_own() -> None:
    """Two test files of one name in two folders cannot be collected together."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not [name for name in set(names) if names.count(name) > 1]
