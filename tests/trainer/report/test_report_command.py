"""The command: what it refuses in a line, what it leaves out and why, whom it does not obey."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from reported_run import START, records, reported_run, write_head, write_hostile_set, write_lines

from trainer.report.__main__ import main
from trainer.report.markup import data_element, element

EVIL = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """The one line that the command ends in."""
    assert main(list(arguments)) == code
    out = capsys.readouterr().err
    assert out.startswith("error: ")
    assert out.count("\n") == 1
    return out


def absent(page: str) -> list[str]:
    """The sentences about what is left out."""
    return re.findall(r'<p class="absent">(.*?)</p>', page)


def test_what_is_no_run_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without config.yaml, a file, nothing; as the second run too."""
    run, _ = reported_run(tmp_path)
    (tmp_path / "file").write_text("x")
    for odd in (tmp_path / "val", tmp_path / "file", tmp_path / "nowhere"):
        assert "a run is a folder with config.yaml" in refused(capsys, str(odd))
        assert str(odd) in refused(capsys, str(run), str(odd))
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("out", ["report.txt", "nowhere/report.html", "folder.html"])
def test_an_odd_out_is_refused_before_anything_is_loaded(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another ending, a folder that is not there, a folder."""
    run, _ = reported_run(tmp_path)
    (tmp_path / "folder.html").mkdir()
    assert "--out is a file" in refused(capsys, str(run), "--out", str(tmp_path / out))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, which takes no file")
def test_a_folder_that_takes_no_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing can be written, the command says which file, and to name another folder."""
    run, _ = reported_run(tmp_path)
    line = refused(capsys, str(run), "--records-only", "--out", "/proc/report.html", code=1)
    assert "/proc/report.html" in line
    assert "name another one" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_real_folder_without_permission_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the page is made."""
    run, _ = reported_run(tmp_path)
    run.chmod(0o500)
    assert "a folder that is closed to us" in refused(capsys, str(run), "--records-only")
    run.chmod(0o700)


def test_a_link_in_a_run_leads_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report.html that is a link is refused, and what it leads to is as it was."""
    run, _ = reported_run(tmp_path)
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    (run / "report.html").symlink_to(mine)
    assert "no link that lies in a run" in refused(capsys, str(run), "--records-only")
    assert mine.read_text() == "mine"
    assert main([str(run), "--records-only", "--out", str(tmp_path / "own.html")]) == 0


def test_without_matplotlib_the_remedy_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with what to install."""
    run, _ = reported_run(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert "pip install 'augengine[report]'" in refused(capsys, str(run))


def no_records(run: Path) -> None:
    (run / "metrics.jsonl").unlink()


def no_scores(run: Path) -> None:
    kept = [r for r in records() if "knn" not in r and "rankme" not in r]
    write_lines(
        run / "metrics.jsonl", [{k: v for k, v in r.items() if k != "constant_loss"} for r in kept]
    )


def torn_records(run: Path) -> None:
    (run / "metrics.jsonl").write_bytes(b"\xff\xfe\x00")


def no_checkpoint(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        path.unlink()


def unknown_key(run: Path) -> None:
    with (run / "config.yaml").open("a") as file:
        file.write("of_a_later_release: 1\n")


def no_head(run: Path) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text("".join(x for x in text.splitlines(True) if x[0] != "#"))


def no_sets(run: Path) -> None:
    for data in ("train", "val"):
        (run.parent / data).rename(run.parent / f"{data}-gone")


LACKS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "records": (no_records, ("No curve: there is no metrics.jsonl", "No times: there is no")),
    "scores": (no_scores, ("kNN is left out", "RankMe, alpha-ReQ", "constant output is not shown")),
    "torn records": (torn_records, ("No curve: metrics.jsonl cannot be read",)),
    "checkpoint": (no_checkpoint, ("The neighbours are left out", "The map is left out")),
    "known keys": (unknown_key, ("config.yaml is shown as it stands", "The views are left out")),
    "head": (no_head, ("The head of config.yaml",)),
    "sets": (no_sets, ("The views are left out", "The neighbours are left out", "The classes are")),
}


@pytest.mark.parametrize("lack", LACKS)
def test_what_is_not_there_costs_its_panel_alone(lack: str, tmp_path: Path) -> None:
    """Each lack is said in a sentence, all panels keep their headings, and the command succeeds."""
    run, _ = reported_run(tmp_path)
    spoil, sentences = LACKS[lack]
    spoil(run)
    assert main([str(run)]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == 10
    said = absent(page)
    for sentence in sentences:
        assert any(sentence in text for text in said), said


def test_without_held_out_images_the_flag_is_named(tmp_path: Path) -> None:
    """A run without --eval-data has views and curves; typed now, its neighbours too."""
    run, _ = reported_run(tmp_path, eval={"data": None})
    page = run / "report.html"
    assert main([str(run)]) == 0
    assert any("add --eval-data SHARDS" in text for text in absent(page.read_text("utf-8")))
    assert 'class="seen"' in page.read_text("utf-8")
    assert main([str(run), "--eval-data", str(tmp_path / "val"), "--max-images", "20"]) == 0
    assert page.read_text("utf-8").count('class="query"') == 12


def test_without_labels_there_are_neighbours_and_a_map(
    tmp_path: Path, new_shards: Callable
) -> None:
    """Classes alone are left out, with the reason."""
    from tiny_sets import write_set

    for data, seed in (("train", 0), ("val", 1)):
        write_set(tmp_path / data, [None] * 20, [i % 3 for i in range(20)], seed=seed)
    run, _ = reported_run(tmp_path)
    assert main([str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert page.count('class="query"') == 12
    assert 'class="point"' in page
    assert any(
        "The classes are left out: kNN and a linear probe need labels" in t for t in absent(page)
    )


def test_nothing_that_a_run_says_is_markup(tmp_path: Path) -> None:
    """Names of classes, files and folders, values, warnings: words, wherever they stand."""
    for data, seed in (("train", 0), (f"{IMAGE}val", 1)):
        write_hostile_set(tmp_path / data, [EVIL, "b", "</svg><b>c"], f'"{IMAGE}', seed)
    run, _ = reported_run(
        tmp_path, f"{IMAGE}run", eval={"data": str(tmp_path / f"{IMAGE}val"), "k": 5}
    )
    write_head(
        run, START | {"command": EVIL, "notes": [f"{EVIL}=1: {IMAGE}"], "auto": {EVIL: EVIL}}
    )
    odd = {"step": 1, "epoch": 0.1, "time_s": 1.0, "warning": f"{EVIL}\ud800\x00", EVIL: 1.0}
    lines = [*records(), odd, {"step": EVIL, "epoch": EVIL, "loss": EVIL}]
    write_lines(run / "metrics.jsonl", lines)
    bad = {"step": 1, "data": EVIL, "id": 3, "key": IMAGE, "reason": EVIL}
    write_lines(run / "bad-samples-rank0.jsonl", [bad])
    assert main([str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert not [text for text in absent(page) if "UMAP" not in text]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert EVIL not in page
    assert IMAGE not in page
    assert "<b>" not in page
    # The page's own scripts, and no other.
    kinds = re.findall(r"<script[^>]*>", page)
    assert kinds == ['<script type="application/json" id="map-0">', "<script>"]


def test_data_for_the_script_ends_where_it_ends() -> None:
    """No text in it can close the element, and the values come back as they were."""
    values = {"a": ["</script><!--", "\u2028", "\ud800", EVIL]}
    made = data_element("x", values)
    inner = made.partition(">")[2].rpartition("</script>")[0]
    assert not set("<>&") & set(inner)
    assert json.loads(inner) == values


def test_attributes_are_words_too() -> None:
    """A quote in a value ends no attribute."""
    assert element("i", title='"><b>') == '<i title="&quot;&gt;&lt;b&gt;"></i>'


def test_code_in_a_run_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A method named by a module in the run's folder is not imported; the page says why."""
    run, _ = reported_run(tmp_path)
    (run / "evil_module.py").write_text("raise SystemExit('ran')\n")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        text.replace("name: simsiam\n  ", "name: evil_module:Evil\n  ", 1).replace(
            "method:\n  name: simsiam", "method:\n  name: evil_module:Evil"
        )
    )
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(str(run))
    assert main([str(run)]) == 0
    said = absent((run / "report.html").read_text("utf-8"))
    assert any("evil_module" in sentence for sentence in said), said


def test_records_that_lie_are_no_numbers(tmp_path: Path) -> None:
    """Infinity, huge integers, lists in place of records and deep nesting: a page all the same."""
    run, _ = reported_run(tmp_path)
    lines = ["[1, 2]", '"x"', '{"step": 1, "epoch": 1, "loss": Infinity}']
    lines += ['{"step": 2, "epoch": 1, "loss": 1' + "0" * 400 + "}", '{"epoch": {}, "loss": []}']
    (run / "metrics.jsonl").write_text("\n".join(lines))
    assert main([str(run), "--records-only"]) == 0
    (run / "metrics.jsonl").write_text("[" * 100_000)
    assert main([str(run), "--records-only"]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert any("metrics.jsonl" in text for text in absent(page))
