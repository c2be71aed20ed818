"""The documents lead somewhere: links, anchors, paths and names that they mention are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = ("shards", "augengine", "trainer", "tools", "benchmarks")
PATH = rf"(?:{'|'.join((*FOLDERS, 'tests', 'docs'))})/[\w./-]*"
CODE = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """To a file or a folder that is there, and to a heading that it has."""
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_a_document_types_are_there(document: Path) -> None:
    """Scripts and modules; the log alone keeps the names of its days."""
    if document.name == "log.md":
        return
    text = document.read_text(encoding="utf-8")
    programs = [
        ROOT / path for path in re.findall(r"python ((?:tools|benchmarks|docs)/\w+\.py)", text)
    ]
    for module in re.findall(r"python -m ((?:trainer|tools|benchmarks)[.\w]*\w)", text):
        place = ROOT / module.replace(".", "/")
        programs.append(place / "__main__.py" if place.is_dir() else place.with_suffix(".py"))
    assert not [path for path in programs if not path.is_file()]


def test_every_path_of_the_guide_is_there() -> None:
    """docs/code.md names files and folders by their paths from the root."""
    paths = re.findall(rf"`({PATH})`", CODE)
    assert len(paths) > 50
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_guide_names_what_its_files_hold() -> None:
    """Where it says a `name` in a `file`, the file has the name."""
    named = re.findall(rf"`([\w.]+)`\s+(?:in|of)(?:\s+the)?\s+`({PATH}\.py)`", CODE)
    assert len(named) > 10
    for name, path in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"\b{name.rpartition('.')[2]}\b", text), (name, path)


def test_the_reading_list_has_eight_files() -> None:
    """One more is one too many for a first hour."""
    assert len(re.findall(rf"^\d\. `{PATH}\.py`: ", CODE, re.MULTILINE)) == 8


def test_every_file_is_listed() -> None:
    """docs/files.md has every source file and no other; `python docs/make.py files` mends it."""
    listed, folder = set(), ""
    for line in (ROOT / "docs" / "files.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(rf"((?:{'|'.join(FOLDERS)})/[\w/]*)(?: |$)", line):
            folder = match[1]
        elif match := re.match(r" {4}(\w+\.py)(?: |$)", line):
            listed.add(f"{folder}{match[1]}")
    paths = [path for name in FOLDERS for path in (ROOT / name).rglob("*.py")]
    there = {str(p.relative_to(ROOT)) for p in paths if p.name != "__init__.py"}
    assert listed == there


def test_the_licence_is_named_alike() -> None:
    """LICENSE, pyproject.toml, CITATION.cff and the README say one thing, and one version."""
    project, citation = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CITATION.cff")
    )
    assert (
        "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    )
    assert re.search(r'^license = "Apache-2.0"$', project, re.MULTILINE)
    assert re.search(r"^license: Apache-2.0$", citation, re.MULTILINE)
    assert "[Apache-2.0](LICENSE)" in (ROOT / "README.md").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.*)"$', project, re.MULTILINE)
    assert re.search(rf"^version: {re.escape(version)}$", citation, re.MULTILINE)
