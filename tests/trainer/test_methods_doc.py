"""docs/methods.md: its tables are the JSON's, and its worked example is a method that works."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml
from tiny_run import tiny_config
from toy_methods import TOY

from trainer.methods import method_table as table
from trainer.recipes.recipe import as_mapping, resolve
from trainer.record.log import read_metrics
from trainer.settings.strict import merge
from trainer.train import train

DOCS = Path(__file__).parents[2] / "docs"
DOC = (DOCS / "methods.md").read_text(encoding="utf-8")
TERM, CHANGE, METHOD, LINE = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
(RECIPE,) = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)


@pytest.fixture
def align(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's method, registered by the page's line."""
    (tmp_path / "page_align.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    name, where = re.findall(r'"([^"]+)"', LINE)
    path, _, cls = where.partition(":")
    assert path == "trainer.methods.align"
    monkeypatch.setitem(table.METHODS, name, f"page_align:{cls}")
    monkeypatch.setitem(TOY, name, {"hidden_dim": 16, "out_dim": 8})


@pytest.mark.usefixtures("align")
def test_the_example_trains(shard_folder: Path, tmp_path: Path) -> None:
    """Eight epochs of tiny images: the loss falls, the run ends, the list shows its first line."""
    train(tiny_config(shard_folder, "align"), tmp_path / "run")
    losses = [record["loss"] for record in read_metrics(tmp_path / "run")]
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.5
    assert table.describe_methods()["align"].startswith("Align and uniform: views of an image")
    sys.modules.pop("page_align")


@pytest.mark.usefixtures("align")
def test_the_recipe_resolves() -> None:
    """Every key of the page's recipe is a key, and its settings are the method's."""
    config = resolve(yaml.safe_load(RECIPE))
    assert config.method.name == "align"
    assert config.policy.load().groups[0].count == 2
    table.method_settings("align", config.method.settings)
    sys.modules.pop("page_align")


def test_the_term_trains(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's term, beside SimSiam, is in every record."""
    (tmp_path / "page_short.py").write_text(TERM)
    monkeypatch.syspath_prepend(tmp_path)
    values = as_mapping(tiny_config(shard_folder, "simsiam", loop={"epochs": 0.5, "batch_size": 8}))
    config = resolve(merge(values, {"method": {"terms": "page_short:Short"}}))
    train(config, tmp_path / "run")
    records = [record for record in read_metrics(tmp_path / "run") if "loss" in record]
    assert records
    assert all(record["term_Short"] > 0 for record in records)
    sys.modules.pop("page_short")


def test_the_change_trains(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's second term: SimCLR's loss is another one, and no record has a loss of it."""
    (tmp_path / "page_shaken.py").write_text(CHANGE)
    monkeypatch.syspath_prepend(tmp_path)
    values = as_mapping(tiny_config(shard_folder, "simclr", loop={"epochs": 0.5, "batch_size": 8}))
    found = []
    for terms in ((), "page_shaken:Shaken"):
        run = tmp_path / f"run-{len(found)}"
        train(resolve(merge(values, {"method": {"terms": terms}})), run)
        records = [record for record in read_metrics(run) if "loss" in record]
        assert not any("term_Shaken" in record for record in records)
        found.append([record["loss"] for record in records])
    assert all(before != after for before, after in zip(*found, strict=True))
    sys.modules.pop("page_shaken")


def test_the_tables_are_the_jsons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is what methods and JSON give; `python docs/make.py methods` mends."""
    monkeypatch.syspath_prepend(str(DOCS))
    assert importlib.import_module("make").made("methods") == DOC
