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
    """docs/of_performance.py as a module."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("of_performance")


def test_the_figures_are_the_jsons(performance):
    """Every block is what the JSON gives; `python docs/make.py performance` mends."""
    assert importlib.import_module("make").made("performance") == DOCUMENT


def test_links_and_pictures_exist():
    """Whatever the document shows or names in a link is there."""
    links = re.findall(r"\]\(([^)#]+)\)", DOCUMENT)
    local = [link for link in links if not link.startswith("http")]
    assert len(local) >= 4
    assert not [link for link in local if not (DOCS / link).is_file()]


def test_a_missed_target_is_shown_with_its_profile(performance, monkeypatch):
    """A median under the target is bold in the table and explained by its stages, no other."""
    report = copy.deepcopy(performance.results("fused_cpu"))
    for found in report["threads"].values():
        for row in found["targets"]:
            row["median"] = row["target"] + 1
    missed = report["threads"]["2"]["targets"][0]
    missed["median"] = missed["target"] - 1
    monkeypatch.setattr(performance, "results", lambda name: report)
    assert performance.targets().count("**") == 2
    paragraph = performance.missed()
    assert paragraph.count("\n") == 0
    assert f"of {missed['target']:g}" in paragraph
    stages = report["threads"]["2"]["workloads"]["swav"]["from bytes, fused"]["stages_ms_per_image"]
    assert f"decode {stages['decode']:.2f}" in paragraph
    missed["median"] = missed["target"]
    assert performance.missed().startswith("None is missed")


@pytest.fixture
def gpu_files(performance, monkeypatch, tmp_path):
    """The folder where a GPU's figures are looked for: the CPU's are there."""
    losses = performance.results("losses_cpu")
    (tmp_path / "losses_cpu.json").write_text(json.dumps(losses))
    monkeypatch.setattr(importlib.import_module("make"), "RESULTS", tmp_path)
    return tmp_path


def write_gpu_file(folder, file, gpu):
    """Figures of a card, as gpu_check.py leaves them when the training steps failed."""
    rates = {"fused": 400_000, "kornia": 10_000, "dali": 50_000}
    results = {
        f"profile {name}": {"results": {f"augment alone, {name}": {"images_per_s": rate}}}
        for name, rate in rates.items()
    }
    results["profile fused"]["results"]["decode alone"] = {"images_per_s": 20_000}
    results["profile fused"]["results"]["end to end, fused"] = {"images_per_s": 19_000}
    rates = {"half": 400_000, "exact": 200_000}
    forms = {form: {"images_per_s": rate} for form, rate in rates.items()}
    results["fused alone"] = {"forms": forms}
    ratio = {"fused_is_times_as_fast": {"compiled": {"median": 3, "min": 2.5, "max": 4}}}
    results["losses"] = {"problems": {"swav": ratio}}
    report = {"conditions": {"gpu": gpu, "date": "2026-12-01 10:00 UTC"}, "results": results}
    (folder / file).write_text(json.dumps(report))


def test_gpu_targets_say_what_is_not_measured(gpu_files):
    """Without a file all six are `not measured`; with one, ratios and the share of the bound."""
    gpu = importlib.import_module("of_gpu")
    assert gpu.gpu_targets().count("not measured") == 6
    assert "on an H200 | wanted | measured |" in gpu.gpu_targets()
    write_gpu_file(gpu_files, "nvidia-h200.json", "NVIDIA H200")
    table = gpu.gpu_targets()
    assert "on an H200 | wanted | measured, 2026-12-01 10:00 UTC |" in table
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:]] == [
        "39%",
        "20%",
        "40.00",
        "8.00",
        "0.95",
        "not measured",
    ]


def test_any_card_fills_the_tables_under_its_own_name(gpu_files):
    """An H100 is held to its own memory; of one that is not known there is no share of a bound."""
    gpu, losses = (importlib.import_module(f"of_{name}") for name in ("gpu", "losses"))
    write_gpu_file(gpu_files, "nvidia-a100-sxm4-40gb.json", "NVIDIA A100-SXM4-40GB")
    assert "bfloat16) | 30 % | not measured |" in gpu.gpu_targets()
    (gpu_files / "nvidia-a100-sxm4-40gb.json").unlink()
    write_gpu_file(gpu_files, "nvidia-h100-80gb-hbm3.json", "NVIDIA H100 80GB HBM3")
    assert "on an H100 80GB HBM3 |" in gpu.gpu_targets()
    assert "bfloat16) | 30 % | 56% |" in gpu.gpu_targets()
    assert "as compiled, H100 80GB HBM3" in losses.loss_times()
    assert "3.00 (2.50 to 4.00) | 4.0 |" in losses.loss_times()
    write_gpu_file(gpu_files, "nvidia-h200.json", "NVIDIA H200")
    assert "on an H200 |" in gpu.gpu_targets()
    assert "as compiled, H200" in losses.loss_times()


def test_lines_are_fitted_through_the_medians(performance):
    """0.5 ms and 0.2 ms a crop come back from points on that line; other threads are left alone."""
    rows = [
        {"x": x, "threads": threads, "kind": "from pixels", "ms_per_image": 0.5 + 0.2 * x * threads}
        for x in (0, 1, 4, 10)
        for threads in (1, 2)
    ]
    assert performance.line(rows, 1, "from pixels") == pytest.approx((0.2, 0.5))
