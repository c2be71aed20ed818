"""The README is true: its tree is the tree, its files exist, its commands are commands."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tree_is_the_tree() -> None:
    """Every source file stands there with its own first line; `python docs/tree.py` mends."""
    spec = importlib.util.spec_from_file_location("tree", ROOT / "docs" / "tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.with_tree(README) == README


def test_linked_files_exist() -> None:
    """Pictures and documents that the README links to are there."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert not [link for link in local if not (ROOT / link).is_file()]


def test_commands_exist() -> None:
    """Every script, module and make target that the README tells to type exists."""
    scripts = re.findall(r"python ((?:tools|benchmarks|docs)/\w+\.py)", README)
    modules = [m.replace(".", "/") + ".py" for m in re.findall(r"python -m ([\w.]+)", README)]
    assert len(scripts + modules) >= 6
    assert not [path for path in scripts + modules if not (ROOT / path).is_file()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\S+)", README, re.MULTILINE)
    assert targets
    assert not [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)]


def test_no_example_uses_a_folder_of_the_source() -> None:
    """What the README, the documents and the helps name as data is no package; git ignores it."""
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.sh")]
    places += [*(ROOT / "tools").glob("*.py"), *(ROOT / "trainer").rglob("*.py")]
    named = re.compile(r"(?:python \S+make_shards\.py \S+|--data|--eval-data|open\(.) ?(\w+)/")
    folders = {place: set(named.findall(place.read_text(encoding="utf-8"))) for place in places}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"shards", "docs"}
    assert not {place: found & packages for place, found in folders.items() if found & packages}
    assert "/sets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
