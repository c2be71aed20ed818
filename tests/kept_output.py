"""Outputs of the tests' scripts, kept beside them while nothing that they read changes.

Compiling or interpreting every kernel takes minutes and prints the same every time. A test asks
`output_of`: it gets the kept output when the code that the script imports, the published policies
and the versions of `LIBRARIES` are those it was made from; else the script runs, and its output is
kept. Comments and docstrings may change. `make test-all` sets AUGENGINE_RUN_ALL=1, which runs every
script. Files of kept/ are committed, so that a clean clone runs what a commit has changed and
nothing else.
"""

import ast
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).parent / "kept"
PACKAGES = ("shards", "augengine", "trainer", "tools")
LIBRARIES = ("triton", "torch", "numpy", "numba")


def output_of(script: Path, *arguments: str, **environment: str) -> Any:
    """The JSON that a script prints, run in a process of its own or kept from when it was."""
    words = [script.stem, *arguments, *(f"{k}={v}" for k, v in environment.items())]
    kept = KEPT / (re.sub(r"[^\w.]+", "-", " ".join(words)) + ".json")
    made_from = fingerprint(script)
    if "AUGENGINE_RUN_ALL" not in os.environ and kept.is_file():
        content = json.loads(kept.read_text())
        if content["made_from"] == made_from:
            return content["output"]
    others = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    others |= {"PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-W", "error", str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=others, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    output = json.loads(done.stdout)
    KEPT.mkdir(exist_ok=True)
    content = {"made_from": made_from, "output": output}
    kept.write_text(json.dumps(content, indent=1) + "\n")
    return output


def fingerprint(script: Path) -> dict[str, str]:
    """The versions, and a SHA-256 of all that the script reads of ours; words may change."""
    digest = hashlib.sha256()
    files = {*_imported(script, {script.resolve()}), *(ROOT / "augengine/policies").glob("*.yaml")}
    for path in sorted(files):
        digest.update(f"{os.path.relpath(path, ROOT)}\0".encode() + _meaning(path) + b"\0")
    return {
        "sources": digest.hexdigest(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _meaning(path: Path) -> bytes:
    """A file as it is; of Python the code alone, without comments and docstrings."""
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    return ast.dump(tree).encode()


def _imported(path: Path, seen: set[Path]) -> set[Path]:
    """The file and all of ours that it imports, at the top or inside functions, and so on."""
    for name in _names(ast.parse(path.read_text())):
        parts = name.split(".")
        base = ROOT if parts[0] in PACKAGES else path.parent
        for found in (
            base.joinpath(*parts).with_suffix(".py"),
            base.joinpath(*parts, "__init__.py"),
        ):
            if found.is_file() and found not in seen:
                seen.add(found)
                _imported(found, seen)
    return seen


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
