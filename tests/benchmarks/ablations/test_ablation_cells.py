"""The cells as runs: they differ in what is taken away, and in nothing else that is not said."""

from typing import Any

import pytest

from benchmarks.ablations.ablation import Ablation, Cell
from benchmarks.ablations.ablation_table import ABLATIONS
from trainer.command.command_config import command_of
from trainer.fitted.fit_rule import Facts, fit
from trainer.methods.method_table import create_method
from trainer.nets.backbones import create_backbone
from trainer.recipes.recipe import as_mapping, resolve
from trainer.run import _parse
from trainer.settings.strict import flatten, merge

FACTS = Facts(images=10_000, median_px=32, device="cpu", memory_bytes=2**33, cores=2)
# What differs between the cells of a line, once all is fitted: a view's fields are said without
# their places.
DIFFERS = {
    "byol-batch": {"loop.batch_size", "method.momentum"},
    "byol-views": {"flip", "jitter", "gray", "blur", "solarize"},
    "simsiam": {"method.stop_gradient", "method.predictor"},
    "moco-queue": {"method.queue_length"},
    "swav-prototypes": {"method.num_prototypes"},
    "swav-crops": {"count"},
    "simclr-temperature": {"method.temperature"},
    "simclr-projector": {"method.projector_layers"},
    "asymmetry": {
        "method.predictor",
        "method.symmetric",
        "method.momentum",
        "method.ramp",
        "optim.base_lr",
    },
    "term-augself": {"method.terms"},
    "term-hsic": {"method.terms"},
    "term-compress": {"method.terms"},
    "term-compress-predictor": {"method.terms"},
    "term-mochi": {"method.terms"},
    "term-centroid": {"method.terms"},
    "term-singular": {"method.terms"},
    "term-brownian": {"method.terms"},
    "term-dssl": {
        "method.terms",
        *(f"policy.heavy.randaugment.{key}" for key in ("num_ops", "magnitude", "prob")),
    },
}


def resolved(cell: Cell) -> dict[Any, Any]:
    """Every key of the run, flat; of the views' fields by group and view."""
    typed = command_of(_parse([*cell.words, "--data", "sets/a", "--epochs", "6"]))
    config = as_mapping(resolve(merge(fit(FACTS, 6.0, typed).values, typed)))
    groups = [group for group in config["policy"].pop("groups") if group["count"]]
    flat = dict(flatten(config))
    for g, group in enumerate(groups):
        views = group.pop("views")
        flat |= {(g, None, key): value for key, value in group.items()}
        flat |= {(g, v, key): value for v, view in enumerate(views) for key, value in view.items()}
    return flat


def settings_of(run: dict[Any, Any]) -> dict[str, Any]:
    """The method's own keys, its name among them."""
    named = {key: value for key, value in run.items() if isinstance(key, str)}
    return {k.removeprefix("method."): v for k, v in named.items() if k.startswith("method.")}


def differing(ablation: Ablation) -> set[str]:
    """The keys in which cells of one line differ; of a view its field's name alone."""
    found: set[str] = set()
    for series in {cell.series for cell in ablation.cells}:
        runs = [resolved(cell) for cell in ablation.cells if cell.series == series]
        # Of a view that one of them lacks only the number differs; a setting that one lacks does.
        shared = set.intersection(*(set(run) for run in runs))
        whole = {key for run in runs for key in run}
        shared |= {key for key in whole if isinstance(key, str) or key[-1] == "count"}
        keys = {key for key in shared if any(run.get(key) != runs[0].get(key) for run in runs)}
        found |= {key if isinstance(key, str) else key[-1] for key in keys}
    return found


@pytest.mark.parametrize("name", ABLATIONS)
def test_cells_differ_in_one_thing(name: str) -> None:
    """All keys of a run, typed or fitted, but those that the ablation is about."""
    assert differing(ABLATIONS[name]) == DIFFERS[name]


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_cell_types_its_optimizer(name: str) -> None:
    """One of an ablation: rows made before and after a change of the fitted rule do compare."""
    typed = [
        [word for word in cell.words if word.startswith("optim.name=")]
        for cell in ABLATIONS[name].cells
    ]
    assert all(len(words) == 1 and words == typed[0] for words in typed)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_cell_builds(name: str) -> None:
    """Its method takes its settings and its number of views."""
    for cell in ABLATIONS[name].cells:
        run = resolved(cell)
        settings = settings_of(run)
        settings.pop("terms", None)
        backbone = create_backbone("resnet10", width=0.25, stem="small")
        method = create_method(settings.pop("name"), backbone, settings)
        counts = tuple(value for key, value in run.items() if key[-1] == "count")
        method.check_views(counts)
        assert len(counts) in (1, 2)


def test_labels_and_sources_are_whole() -> None:
    """No label twice, no ablation without a number of its paper, every name its own key."""
    for name, ablation in ABLATIONS.items():
        labels = [cell.label for cell in ablation.cells]
        assert len(set(labels)) == len(labels) >= 2
        assert ablation.name == name
        assert any(digit.isdigit() for digit in ablation.finding)
        assert ablation.source.split(",")[0].endswith(("2019", "2020", "2021", "2022"))
        assert ablation.claims


def test_the_baseline_of_two_ablations_is_one_run() -> None:
    """BYOL's and SimCLR's cell with all changes is the one with a batch of 64."""
    batch, views = (
        {cell.label: cell.words for cell in ABLATIONS[name].cells}
        for name in ("byol-batch", "byol-views")
    )
    for series in ("BYOL", "SimCLR"):
        assert batch[f"{series}, 64"] == views[f"{series}, all"]
