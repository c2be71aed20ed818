"""The door: what a name means, what is said when it means nothing, and what is never imported."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shards.plugins.importing as importing
from shards.errors import UsageError
from shards.plugins.entries import entries_of
from shards.plugins.find import KINDS, check_name, find, first_line_of, origin
from shards.plugins.importing import never_beside, never_from
from shards.plugins.making import find_class, make, parameters

TABLE = {"path": "pathlib:Path"}
MODULE = '''"""A line of its own. More."""
class Mine:
    def __init__(self, spec, split=None, *, deep=3):
        self.got = spec, split, deep
    def act(self):
        return 1
def function(spec):
    raise SystemExit("called")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder; what is imported from it and forbidden there is forgotten afterwards."""
    monkeypatch.setattr(importing, "_NEVER", set())
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "door_mine.py").write_text(MODULE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith(("door_", "runs")):
            del sys.modules[name]


def install(folder: Path, name: str, kind: str, point: str) -> Path:
    """A distribution as pip leaves it: metadata with one entry point, and no code."""
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[augengine.{kind}]\n{point}\n")
    return folder


@pytest.mark.usefixtures("folder")
def test_a_name_is_shipped_or_an_address() -> None:
    """Both give the object; only what is not ours has an origin to tell."""
    assert find("sources", "path", TABLE) is Path
    assert find("sources", "door_mine:Mine", TABLE).__name__ == "Mine"
    assert origin("sources", "path", TABLE) == ""
    assert origin("sources", "door_mine:Mine", TABLE).startswith("source door_mine:Mine from /")


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_may_be_an_entry_point(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every kind; which package brings it is told, and one that ships cannot be replaced."""
    monkeypatch.syspath_prepend(install(folder / "site", "door_dist", kind, "mine=door_mine:Mine"))
    monkeypatch.syspath_prepend(install(folder / "more", "door_more", kind, "path=door_mine:Mine"))
    assert "door_mine" not in sys.modules
    assert check_name(kind, "mine", TABLE) == "mine"
    assert "door_mine" not in sys.modules
    assert find(kind, "mine", TABLE).__name__ == "Mine"
    assert "entry point of door_dist 1.5: door_mine:Mine" in origin(kind, "mine", TABLE)
    assert find(kind, "path", TABLE) is Path
    others = set(KINDS) - {kind}
    assert not any("mine" in entries_of(other) for other in others)


def test_a_name_of_two_packages_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is used, and not before: the list is whole."""
    for name, cls in (("door_one", "Mine"), ("door_two", "Other")):
        monkeypatch.syspath_prepend(
            install(folder / name, name, "methods", f"mine = door_mine:{cls}")
        )
    assert "mine" in entries_of("methods")
    with pytest.raises(UsageError, match=r"belongs to one .* door_two 1.5 and of door_one 1.5; un"):
        find("methods", "mine", {})


@pytest.mark.usefixtures("folder")
def test_the_first_line_is_read_and_not_run() -> None:
    """Of a file; nothing where there is none."""
    assert first_line_of("door_mine:Mine") == "A line of its own. More"
    assert first_line_of("door_nothing:Mine") == first_line_of("door_mine.deeper:Mine") == ""
    assert "door_mine" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pth",
            r"unknown source 'pth'; did you mean path\? known: path, package.module:Class, and",
        ),
        ("", r"unknown source ''; known: path"),
        ("door_no:Mine", "needs a module door_no, got none called door_no among the .* or in /"),
        ("door_mine.deep:Mine", "got none called door_mine.deep among"),
        ("door_mine:Mind", "door_mine.py, got no such name as Mind there; write package.module"),
        ("door_broken:Mine", "can be imported, got ZeroDivisionError: .*; try python -c 'import d"),
        ("door_exits:Mine", "can be imported, got SystemExit: bye; try"),
        ("door_needs:Mine", "got ModuleNotFoundError: No module named 'door_nowhere'"),
        ("door_mine:", "is named package.module:Class, got 'door_mine:'"),
        ("door mine:Mine", "is named package.module:Class"),
        ("../door_mine:Mine", "is named package.module:Class"),
        ("door_mine:Mine.got", "is named package.module:Class"),
    ],
)
def test_what_is_not_there_is_said(name: str, message: str, folder: Path) -> None:
    """What was looked for, and where."""
    (folder / "door_broken.py").write_text("1 / 0\n")
    (folder / "door_exits.py").write_text("raise SystemExit('bye')\n")
    (folder / "door_needs.py").write_text("import door_nowhere\n")
    with pytest.raises(UsageError, match=message):
        find("sources", name, TABLE)


@pytest.mark.usefixtures("folder")
def test_a_class_gets_what_it_names() -> None:
    """Of what is offered; and what it cannot have is a line. A function is never called."""
    cls = find_class("sources", "door_mine:Mine", {}, has=("act",))
    assert make("sources", "m", cls, {"split": 2, "spec": 1, "other": 0}).got == (1, 2, 3)
    assert parameters(cls) == ("spec", "split", "deep")
    with pytest.raises(
        UsageError, match=r"is made with split, .* got one called spec; give it a d"
    ):
        make("sources", "m", cls, {"split": 2})
    with pytest.raises(UsageError, match=r"a class that does not .without __call__. in /"):
        find_class("sources", "door_mine:Mine", {}, has=("act", "__call__"))
    for name in ("door_mine:function", "os:system", "sys:path"):
        with pytest.raises(UsageError, match="names a class that defines act, got a "):
            find_class("sources", name, {}, has=("act",))


def test_nothing_is_imported_out_of_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a path from the working folder, a link or an entry point, nor from inside."""
    run = folder / "runs" / "theirs"
    run.mkdir(parents=True)
    (run / "door_evil.py").write_text("raise SystemExit('ran')\n")
    (folder / "door_link.py").symlink_to(run / "door_evil.py")
    (run / "door_out.py").symlink_to(folder / "door_mine.py")
    monkeypatch.syspath_prepend(install(folder / "s", "door_d", "methods", "evil=door_evil:Mine"))
    never_from(Path("runs/theirs"))
    refused = r"comes from an installed package or the working folder, never from the run .* got /"
    for name in ("runs.theirs.door_evil:Mine", "runs.theirs:Mine", "door_link:Mine"):
        with pytest.raises(UsageError, match=refused):
            find("methods", name, {})
    assert find("methods", "door_mine:Mine", {}).__name__ == "Mine"
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(run)
    for name in ("door_evil:Mine", "door_out:Mine", "evil"):
        with pytest.raises(UsageError, match=refused):
            find("methods", name, {})


def test_nothing_is_imported_from_beside_a_recipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless one works there, as with one's own recipe beside one's own code."""
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "door_evil.py").write_text(MODULE)
    never_beside(folder / "own.yaml")
    assert find("methods", "door_mine:Mine", {}).__name__ == "Mine"
    never_beside(theirs / "recipe.yaml")
    with pytest.raises(UsageError, match="never from the run or another folder"):
        find("methods", "theirs.door_evil:Mine", {})
    monkeypatch.setattr(importing, "_NEVER", set())
    monkeypatch.chdir(theirs)
    never_beside(theirs / "recipe.yaml")
    assert find("methods", "door_evil:Mine", {}).__name__ == "Mine"
