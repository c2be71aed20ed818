"""docs/evaluation.md: its tables of the study are the JSON's, and what it says of them is so."""

import importlib
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.methods.study_tables import MEASURES, analysis

ROOT = Path(__file__).parents[1]
STUDY = json.loads((ROOT / "benchmarks/results/label_free_study.json").read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.split("## Do they agree with accuracies?")[1].split("\n## ")[0]


def test_the_tables_are_the_jsons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block is what the JSON gives; `python docs/make.py evaluation` mends."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    assert importlib.import_module("make").made("evaluation") == DOCUMENT
    assert len(importlib.import_module("of_evaluation").BLOCKS) == DOCUMENT.count(
        "made by docs/make"
    )


def test_the_analysis_is_of_its_rows() -> None:
    """Correlations, intervals and choices are made anew from the checkpoints' numbers."""
    made: dict[str, Any] = json.loads(json.dumps(analysis(STUDY["rows"])))
    assert set(made) == set(STUDY["analysis"])
    flat, kept = (dict(_numbers(report)) for report in (made, STUDY["analysis"]))
    assert flat.keys() == kept.keys()
    assert [key for key in flat if flat[key] != pytest.approx(kept[key], abs=1e-3)] == []


def test_the_study_is_as_large_as_was_asked() -> None:
    """Twelve trained checkpoints or more of three methods, each with every number."""
    points = [point for row in STUDY["rows"] for point in row["points"]]
    assert sum(point["step"] > 0 for point in points) >= 12
    assert len({row["method"] for row in STUDY["rows"]}) >= 3
    needed = {"step", "knn", "linear", *MEASURES}
    assert all(needed <= set(point) for point in points)


def test_what_it_says_of_them_is_so() -> None:
    """The sentences under the tables: later is better, who is right within a run and across."""
    study, each = STUDY["analysis"], STUDY["analysis"]["each_run"]
    within = {m: study["within_runs"][m]["knn"]["spearman"]["value"] for m in MEASURES}
    across = {m: study["across_runs"][m]["knn"]["spearman"] for m in MEASURES}
    assert all(run["step"]["knn"]["kendall"]["value"] == 1 for run in each.values())
    assert within["rankme"] == 1
    assert all(run["lidar"]["knn"]["kendall"]["value"] == -1 for run in each.values())
    assert across["alpha_req"]["high"] < 0
    assert within["uniformity"] < 0 < within["loss"]
    assert [m for m in MEASURES if across[m]["low"] > 0 and m != "step"] == ["alignment"]
    wrong = {m: study["untrained"][m]["wrong"] for m in MEASURES}
    pairs = study["untrained"]["rankme"]["pairs"]
    assert wrong["rankme"] == wrong["alpha_req"] == wrong["lidar"] == pairs
    assert 0 < wrong["alignment"] < pairs
    lasts = [row["points"][-1] for row in STUDY["rows"]]
    assert min(lasts, key=lambda p: p["rankme"]) == max(lasts, key=lambda p: p["knn"])
    kept = [*study["choices"].values()]
    for rule in ("--select", "--select without labels", "step"):
        assert all(run[rule]["knn_regret"] == 0 for run in kept)
    assert all(run["alpha_req"] != run["rankme"] or run["lidar"] != run["rankme"] for run in kept)
    assert sum(run["alpha_req"] == run["--select"] for run in kept) == 2
    assert sum(run["alpha_req"] == run["worst"] for run in kept) == 2
    assert study["across_choices"]["--select without labels"]["knn_regret"] > 1


def test_what_it_says_of_transfer_is_so() -> None:
    """What was learned serves CIFAR-10 nearly as its own set, clothes by 5 points, kNN not."""
    path = ROOT / "benchmarks/results/transfer.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    gain = {
        (name, score): sum(
            row[score] * (1 if row["encoder"] == "trained" else -1)
            for row in rows
            if row["set"] == name
        )
        for name in ("tiny_imagenet50", "cifar10", "fashion")
        for score in ("linear", "knn")
    }
    assert gain["tiny_imagenet50", "linear"] == pytest.approx(gain["cifar10", "linear"], abs=0.02)
    assert gain["fashion", "linear"] == pytest.approx(0.05, abs=0.005)
    assert gain["fashion", "knn"] == pytest.approx(-0.01, abs=0.005)


def test_what_it_says_of_augself_is_so() -> None:
    """Colour is kept, place within the spread, and the class pays for it in two runs of three."""
    path = ROOT / "benchmarks/results/factor_probe.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    of: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for task in ("class", "hue", "place"):
            of.setdefault(row["encoder"], {}).setdefault(task, []).append(row[task])
    alone, whole, fifth = (of[f"SimSiam{more}"] for more in ("", " + AugSelf", " + 0.2 AugSelf"))
    untrained = of["untrained"]
    assert min(untrained["hue"]) > max(whole["hue"]) > min(whole["hue"]) > max(alone["hue"])
    assert max(untrained["place"]) < min(alone["place"])
    assert fmean(whole["hue"]) - fmean(alone["hue"]) == pytest.approx(0.09, abs=0.005)
    assert min(whole["place"]) < min(alone["place"])
    assert sum(score < 0.4 for score in whole["class"]) == 2
    assert fmean(fifth["hue"]) - fmean(alone["hue"]) == pytest.approx(0.04, abs=0.005)
    assert sum(score < min(alone["class"]) for score in fifth["class"]) == 1


def _numbers(report: Any, where: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a report with its path."""
    if not isinstance(report, dict):
        return [(where, report)]
    return [leaf for key in report for leaf in _numbers(report[key], f"{where}/{key}")]
