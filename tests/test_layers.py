"""Rules a reader relies on: who imports whom, what an import costs, how long a file is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shards", "augengine", "trainer", "tools")  # low to high
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
# Packages that lie as a spine of a few files and wings with names.
WINGED = ("shards", "augengine")
MOST_IN_A_SPINE = 10
# Importing any of these without asking for a device, a backend or a plot would be a surprise.
HEAVY = ("torch", "nvidia", "kornia", "numba", "triton")
HEAVY += ("matplotlib", "tensorboard", "pyarrow", "timm")


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


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    """A package imports itself and the packages below it, never one above."""
    level = PACKAGES.index(path.relative_to(ROOT).parts[0])
    above = set(PACKAGES[level + 1 :]) | {"tests", "benchmarks"}
    assert not {name for name in imported(path) if name.split(".")[0] in above}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_through_a_package(path: Path) -> None:
    """Names come from the module that defines them, so that no import knot can grow."""
    bare = {name for name in imported(path) if name in PACKAGES}
    assert path.name == "__init__.py" or not bare


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_holds_one_idea(path: Path) -> None:
    """No source file is longer than 250 lines (300 for a kernel)."""
    limit = 300 if "kernels" in path.parts else 250
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("package", WINGED)
def test_a_spine_is_short_and_introduced(package: str) -> None:
    """A newcomer reads ten files at most, and the package's docstring names each of them."""
    spine = [path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
    introduction = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    assert len(spine) <= MOST_IN_A_SPINE
    assert not [name for name in spine if name not in introduction]


@pytest.mark.parametrize("package", WINGED)
def test_a_file_has_a_name_of_its_own(package: str) -> None:
    """Nobody who is told a file's name has to ask which one."""
    names = [path.name for path in MODULES]
    ours = {path.name for path in (ROOT / package).rglob("*.py")} - {"__init__.py"}
    assert not [name for name in ours if names.count(name) > 1]


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("shards", ()), ("augengine", ("torch",)), ("trainer", ("torch",)), ("tools", ())],
)
def test_importing_a_package_is_light(package: str, allowed: tuple[str, ...]) -> None:
    """`import PACKAGE` loads no backend, no plotting library, and touches no GPU."""
    code = (
        f"import sys, {package}; "
        f"print(*[m for m in {HEAVY!r} if m in sys.modules]); "
        "t = sys.modules.get('torch'); assert t is None or not t.cuda.is_initialized()"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(out.stdout.split()) <= set(allowed)


def test_test_files_have_names_of_their_own() -> None:
    """Two test files of one name in two folders cannot be collected together."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not [name for name in set(names) if names.count(name) > 1]
