"""The README is true: what it shows runs, its figures are the JSON's, its commands exist."""

import ast
import importlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from PIL import ImageFont

from augengine.backends.create_backend import BACKENDS
from trainer.command.scoreboard import print_head, print_row
from trainer.eval.evaluation import Score
from trainer.fitted.fit_rule import Facts, fit
from trainer.methods.method_table import METHODS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 160
RESULTS = ROOT / "benchmarks" / "results"


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """The words of every Python command that the README tells to type."""
    lines = "".join(blocks("bash")).splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["python"]]


def result(name: str) -> Any:
    """A file of benchmarks/results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_a_stranger_reads_it_in_five_minutes() -> None:
    """It is short; what is long lies in docs/."""
    assert len(README.splitlines()) <= MOST_LINES


def test_its_python_runs(
    indexed_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it stands there, in a folder with sets/train; what its comments say comes out."""
    (code,) = blocks("python")
    shutil.copytree(indexed_folder, tmp_path / "sets" / "train")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    (printed,) = capsys.readouterr().out.splitlines()
    (shown,) = re.findall(r"# (Plan\(.*), \.\.\.\)", code)
    assert printed.startswith(shown)
    (first,) = re.findall(r"# (\[.*\])\n", code)
    assert list(names["views"].crops[0].shape) == ast.literal_eval(first)
    (shapes,) = re.findall(r"# (\[.*\]) and (\[.*\]), normalised", code)
    large, small = (ast.literal_eval(shape) for shape in shapes)
    assert list(names["large"].shape) == large
    assert list(names["small"].shape) == small
    assert names["loss"].isfinite()
    assert names["loader"].cursor.position == 3 * 8


def test_commands_exist() -> None:
    """Every script, module and make target that the README tells to type exists."""
    scripts = re.findall(r"python ((?:tools|benchmarks|docs)/\w+\.py)", README)
    modules = [ROOT / m.replace(".", "/") for m in re.findall(r"python -m ([\w.]+)", README)]
    assert len(scripts) + len(modules) >= 6
    assert not [path for path in scripts if not (ROOT / path).is_file()]
    programs = [
        path / "__main__.py" if path.is_dir() else path.with_suffix(".py") for path in modules
    ]
    assert not [path for path in programs if not path.is_file()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\S+)|`make (\S+?)[` ]", README, re.MULTILINE)
    assert targets
    for target in (first or second for first, second in targets):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[words[0] == "-m"])
def test_flags_exist(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every flag of a command that the README tells to type stands in that command's help."""
    where = words[1] if words[0] == "-m" else words[0].removesuffix(".py").replace("/", ".")
    if (ROOT / where.replace(".", "/")).is_dir():
        where += ".__main__"
    with pytest.raises(SystemExit):
        importlib.import_module(where).main(["--help"])
    text = capsys.readouterr().out
    flags = [word for word in words if word.startswith("--")]
    assert not [flag for flag in flags if not re.search(rf"{flag}\b", text)]


def test_the_demos_scores_are_those_of_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is what `trainer.evaluate` prints of them."""
    print_head("runs/demo")
    for row in result("demo_swav")["scores"]:
        print_row(Score(**row))
    table = capsys.readouterr().out
    assert table in "".join(blocks("text"))
    demo = result("demo_swav")["scores"][0]
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert f"{100 * demo['knn']:.1f} % kNN and {100 * demo['linear']:.1f} % linear" in methods


def test_the_fitted_lines_are_what_a_run_says() -> None:
    """Each key=value: reason that is shown is chosen for such a set on two cores."""
    (text,) = [block for block in blocks("text") if block.startswith("fitted to")]
    first, *lines = text.splitlines()
    images, median_px = (
        int(number.replace(",", ""))
        for number in re.findall(r"to ([\d,]+) images of (\d+) px, 1 x cpu", first)[0]
    )
    facts = Facts(images=images, median_px=median_px, device="cpu", memory_bytes=16 << 30, cores=2)
    chosen = {f"{key}={value}": why for key, value, why in fit(facts, 10.0, {}).reasons}
    assert lines
    for line in lines:
        pairs, why = line.strip().split(": ", 1)
        assert {chosen[pair] for pair in pairs.split()} == {why}


def test_figures_are_those_of_the_json() -> None:
    """Every row of both tables, and the numbers among the promises."""
    speed = {
        name: f"{row['images_per_s']:,.0f}"
        for name, row in result("fused_cpu")["threads"]["2"]["workloads"]["swav"].items()
    }
    rows = [
        ("decode alone", speed["decode alone"]),
        ("read, decode, augment, deliver: `fused`", speed["end to end, fused"]),
        ("the same with lightly's SwAV transform in a `DataLoader`", speed["end to end, lightly"]),
        (
            "the same with torchvision's v2 transforms in a `DataLoader`",
            speed["end to end, torchvision v2"],
        ),
        (
            "decode, augment: `dali` (on the CPU) / `kornia`",
            f"{speed['from bytes, dali']} / {speed['from bytes, kornia']}",
        ),
    ]
    problems = result("losses_cpu")["problems"]
    for name, what in (
        ("vicreg", "VICReg, 2,048 images, 8,192 features"),
        ("dino", "DINO, 64 images, 65,536 prototypes, 2+8 views"),
        ("nt_xent", "SimCLR, 4,096 images, two views"),
        ("moco", "MoCo, 256 images, a queue of 65,536"),
    ):
        forms = problems[name]["forms"]
        peaks = [f"{forms[form]['peak_mb']:,.0f}" for form in ("eager", "compiled", "fused")]
        rows.append((what, " | ".join(peaks)))
    for row in rows:
        assert f"| {' | '.join(row)} |\n" in README

    row = result("methods_demo")["methods"]["swav"]
    assert row["conditions"]["torch_threads"] == 1
    assert f"{100 * row['knn']:.1f} and {100 * row['linear']:.1f} %" in README
    kills, scale, epochs = result("faults")["kills"], result("scale"), result("epoch")["cases"]
    ranks = {max(case["epoch"]["worlds"]) for case in epochs if case["exactly_once"]}
    assert f"({kills['bit_equal']} of {kills['runs']} runs of two ranks)" in README
    assert f"on 1 to {min(ranks):,} ranks" in README
    assert f"({result('fuzz')['cases']:,} files)" in README
    errors = [row["error"] for row in result("lightly_losses")["rows"]]
    alike = sum(error is not None and error < 1e-12 for error in errors)
    assert f"for {alike} of {len(errors)} methods" in README
    samples, open_s = scale["settings"]["samples"], scale["results"]["open_s"]
    assert f"{samples:,} samples open in {open_s:.1f} s" in README
    assert not result("fuzz")["wrong"]
    assert all(row["is_flat"] for row in result("memory")["results"].values())
    assert all(row["right"] for row in result("corruption")["results"].values())


def test_every_method_is_named() -> None:
    """Each of them once, under the heading."""
    (section,) = re.findall(r"^## Methods\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    listed = re.findall(r"`(\w+)`", section)
    assert sorted(listed) == sorted(METHODS)


def test_the_picture_names_every_backend() -> None:
    """A backend more is a word more in docs/flow.svg."""
    picture = (ROOT / "docs" / "flow.svg").read_text(encoding="utf-8")
    assert f">{', '.join(BACKENDS)}</text>" in picture


def test_no_line_of_the_picture_leaves_its_box() -> None:
    """In the widest of the fonts that it names, each line ends as far inside as it begins."""
    picture = (ROOT / "docs" / "flow.svg").read_text(encoding="utf-8")
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    kinds = {"h": ("DejaVuSans-Bold", 16), "t": ("DejaVuSans", 12), "m": ("DejaVuSansMono", 12)}
    fonts = {
        kind: ImageFont.truetype(folder / f"{name}.ttf", size)
        for kind, (name, size) in kinds.items()
    }
    boxes = re.findall(
        r'class="box".* x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"(.*)', picture
    )
    assert len(boxes) == 12
    for *place, rest in boxes:
        x, y, width, height = map(int, place)
        lines = re.findall(r'<text x="(\d+)" y="(\d+)" class="(\w)">(.*?)</text>', rest)
        assert len(lines) >= 3
        for left, bottom, kind, text in lines:
            margin = int(left) - x
            assert int(left) + fonts[kind].getlength(text) <= x + width - margin, text
            assert y < int(bottom) < y + height - 8, text


def test_no_example_uses_a_folder_of_the_source() -> None:
    """What the README, the documents and the helps name as data is no package; git ignores it."""
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.sh")]
    places += [*(ROOT / "tools").glob("*.py"), *(ROOT / "trainer").rglob("*.py")]
    named = re.compile(r"(?:python \S+make_shards\.py \S+|--data|--eval-data|open\(.) ?(\w+)/")
    folders = {place: set(named.findall(place.read_text(encoding="utf-8"))) for place in places}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"shards", "docs"}
    assert not {place: found & packages for place, found in folders.items() if found & packages}
    assert "/sets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
