"""docs/performance.md says what the benchmarks' JSON says, and its pictures and links exist."""

import copy
import importlib
import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = (DOCS / "performance.md").read_text(encoding="utf-8")


@pytest.fixture
def performance(monkeypatch):
    """docs/performance.py as a module."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("performance")


def test_the_figures_are_the_jsons(performance):
    """Every block is what the JSON gives; `python docs/performance.py` mends."""
    assert performance.with_figures(DOCUMENT) == DOCUMENT


def test_links_and_pictures_exist():
    """Whatever the document shows or names in a link is there."""
    links = re.findall(r"\]\(([^)#]+)\)", DOCUMENT)
    local = [link for link in links if not link.startswith("http")]
    assert len(local) >= 4
    assert not [link for link in local if not (DOCS / link).is_file()]


def test_a_missed_target_is_shown_with_its_profile(performance, monkeypatch):
    """A median under the target is bold in the table and explained by its stages, no other."""
    report = copy.deepcopy(performance._results("fused_cpu"))
    for found in report["threads"].values():
        for row in found["targets"]:
            row["median"] = row["target"] + 1
    missed = report["threads"]["2"]["targets"][0]
    missed["median"] = missed["target"] - 1
    monkeypatch.setattr(performance, "_results", lambda name: report)
    assert performance._targets().count("**") == 2
    paragraph = performance._missed()
    assert paragraph.count("\n") == 0
    assert f"of {missed['target']:g}" in paragraph
    stages = report["threads"]["2"]["workloads"]["swav"]["from bytes, fused"]["stages_ms_per_image"]
    assert f"decode {stages['decode']:.2f}" in paragraph
    missed["median"] = missed["target"]
    assert performance._missed().startswith("None is missed")


def test_gpu_targets_say_what_is_not_measured(performance, monkeypatch, tmp_path):
    """Without a file all five are `not measured`; with one, ratios and the share of the bound."""
    gpu = importlib.import_module("performance_gpu")
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    assert gpu.gpu_targets().count("not measured") == 5
    rates = {"fused": 400_000, "kornia": 10_000, "dali": 50_000}
    results = {
        f"profile {name}": {"results": {f"augment alone, {name}": {"images_per_s": rate}}}
        for name, rate in rates.items()
    }
    results["profile fused"]["results"]["decode alone"] = {"images_per_s": 20_000}
    results["profile fused"]["results"]["end to end, fused"] = {"images_per_s": 19_000}
    (tmp_path / "nvidia-h200.json").write_text(json.dumps({"results": results}))
    table = gpu.gpu_targets()
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:]] == [
        "39%",
        "40.00",
        "8.00",
        "0.95",
        "not measured",
    ]


def test_lines_are_fitted_through_the_medians(performance):
    """0.5 ms and 0.2 ms a crop come back from points on that line; other threads are left alone."""
    rows = [
        {"x": x, "threads": threads, "kind": "from pixels", "ms_per_image": 0.5 + 0.2 * x * threads}
        for x in (0, 1, 4, 10)
        for threads in (1, 2)
    ]
    assert performance._line(rows, 1, "from pixels") == pytest.approx((0.2, 0.5))
