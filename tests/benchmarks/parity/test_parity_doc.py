"""What docs/evaluation.md shows of the pairs: rows that exist, verdicts, and what was not run."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SAME = {"loss_error": 1e-15, "gradient_error": 2e-15, "gradient_cosine": 1.0, "convention": "same"}
OTHER = SAME | {"loss_error": None, "gradient_error": None, "gradient_cosine": 0.5}


def row(side: str, seed: int, knn: float, method: str = "simclr") -> dict[str, Any]:
    machine = {"cpu": "a CPU", "cores": 2, "load_average_1min": 3.0, "date": "2026-11-30 10:00 UTC"}
    found = {"set": "c10", "epochs": 4, "method": method, "seed": seed, "side": side}
    found |= {"knn": knn, "linear": 0.5, "images_per_s": 10.0, "data_wait": 0.1, "wall_s": 2.0}
    found |= {"cpu_s": 3.0 if side == "ours" else 4.0, "peak_mib": 5.0}
    versions = {"lightly": "1", "torch": "2", "torchvision": "3"}
    return found | {"conditions": machine | {"versions": {"torch": "2"}}, "versions": versions}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The block's text for some rows."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    module = importlib.import_module("of_parity")

    def show(rows: list[dict[str, Any]]) -> str:
        untrained = [{"set": "c10", "seed": 0, "knn": 0.29, "linear": 0.3}]
        report = {
            "agreement": {"simclr": SAME, "nnclr": OTHER},
            "untrained": untrained,
            "rows": rows,
        }
        monkeypatch.setattr(module, "results", lambda name: report)
        return module.parity()

    return show


def test_only_rows_that_exist_are_shown(shown: Any) -> None:
    """A side alone is named, and so is every method without a pair."""
    text = shown([row("ours", 0, 0.4), row("lightly", 0, 0.41), row("ours", 0, 0.3, "byol")])
    assert "| `simclr` | c10, 4 | 1 | 40.0 | 41.0 | 50.0 | 50.0 | one seed: not judged |" in text
    assert "Without the other side yet: `byol` seed 0 (ours, 30.0% kNN)." in text
    assert "Not run on both sides: `byol`, `simsiam`," in text
    assert "| `simclr` | 10 / 10 | 10% / 10% | 2 / 2 | 3 / 4 | 5 / 5 |" in text
    assert "at most 2e-15 of their size for `simclr`" in text
    assert "`nnclr` has another loss" in text
    assert "Not compared: `byol`" in text


def test_sides_that_differ_are_marked(shown: Any) -> None:
    """By name of the score; those within the spread are not."""
    ours = [row("ours", seed, 0.5 + seed / 100) for seed in (0, 1)]
    text = shown(ours + [row("lightly", seed, 0.4) for seed in (0, 1)])
    assert "| 2 | 50.5 ±0.5 | 40.0 | 50.0 | 50.0 | **differ: kNN** |" in text
    near = [row("lightly", seed, 0.495 + seed / 100) for seed in (0, 1)]
    assert "within the spread |" in shown(ours + near)


def test_without_rows_it_says_so(shown: Any) -> None:
    """No table, and every method among those not run."""
    text = shown([])
    assert "| method |" not in text
    assert "Not run on both sides: `simclr`, `byol`," in text
