"""What both sides share: our recipes say the numbers of the table, and nothing of ours slips in."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.parity import shared_settings as shared
from benchmarks.parity.our_recipe import our_recipe
from trainer.methods.method_table import create_method
from trainer.nets.backbones import create_backbone, feature_dim
from trainer.optim.schedule import peak_lr
from trainer.recipes.recipe import resolve

METHODS = list(shared.PAIRS)
NUMBERS = ("out_dim", "temperature", "teacher_temperature", "momentum", "queue_length")
NUMBERS += ("num_prototypes", "freeze_epochs", "hidden_dim", "predictor_dim", "ramp")


@pytest.mark.parametrize("method", METHODS)
def test_our_config_holds_the_tables_numbers(method: str) -> None:
    """Every number of a row that our method has a setting for is that setting's value."""
    pair, config = shared.PAIRS[method], resolve(our_recipe(method))
    settings = config.method.settings
    assert peak_lr(config.optim.base_lr, shared.BATCH) == pytest.approx(pair.lr)
    assert config.optim.weight_decay == pair.weight_decay
    assert config.loop.batch_size == shared.BATCH
    for name in NUMBERS:
        value = getattr(pair, name)
        if name in settings and value is not None:
            assert settings[name] == value, name
    assert dict(pair.weights).items() <= dict(settings).items()


@pytest.mark.parametrize("method", METHODS)
def test_our_views_are_the_tables(method: str) -> None:
    """Counts, sides, windows, strengths and chances; no blur, and the windows of torchvision."""
    pair, policy = shared.PAIRS[method], resolve(our_recipe(method)).policy.load()
    assert (policy.mean, policy.std) == (shared.MEAN, shared.STD)
    sizes = [(group.count, group.size_px) for group in policy.groups]
    local = [(pair.num_local, shared.LOCAL_PX)] if pair.local else []
    assert sizes == [(2, shared.SIZE_PX), *local]
    told = [*pair.views, *[pair.local] * pair.num_local]
    for (_, _, view), wanted in zip(policy.flat_views, told, strict=True):
        assert wanted is not None
        for field in fields(wanted):
            assert getattr(view, field.name) == getattr(wanted, field.name), field.name
        assert (view.blur, view.crop, view.interpolation) == (0.0, "torchvision", "bilinear")


@pytest.mark.parametrize("method", METHODS)
def test_heads_are_as_wide_as_the_table_says(method: str) -> None:
    """Our method can be built of the recipe, and its widths are the row's."""
    pair, config = shared.PAIRS[method], resolve(our_recipe(method))
    keys = {"arch": config.backbone.arch, "width": config.backbone.width}
    backbone = create_backbone(**keys, stem=config.backbone.stem, image_size_px=shared.SIZE_PX)
    assert feature_dim(backbone) == shared.FEATURES
    built = create_method(method, backbone, config.method.settings)
    widths = {
        name.split(".")[0]: tuple(weight.shape)
        for name, weight in built.named_parameters()
        if name.endswith("0.weight") and not name.startswith(("backbone", "target", "teacher"))
    }
    projector = "expander" if method == "vicreg" else "projector"
    assert widths[projector] == (pair.hidden_dim, shared.FEATURES)
    if pair.predictor_dim is not None:
        assert widths["predictor"] == (pair.predictor_dim, pair.out_dim)


def test_an_epoch_is_whole_steps() -> None:
    """Or one side would drop images that the other sees."""
    assert 10_000 % shared.BATCH == 50_000 % shared.BATCH == 0
    for pair in shared.PAIRS.values():
        assert pair.queue_length is None or pair.queue_length % shared.BATCH == 0


def test_every_method_says_what_differs() -> None:
    """A sentence each, for the document."""
    assert shared.DIFFERENT.keys() == shared.PAIRS.keys()
    assert all(shared.DIFFERENT.values())


def test_of_ours_the_peer_has_the_encoder_alone() -> None:
    """Its scripts import the ResNet and the shared numbers; the numbers import nothing."""
    folder = Path(shared.__file__).parent
    trials = [folder.parent / "minutes" / f"{name}.py" for name in ("peer_trial", "peer_ideas")]
    ours = set()
    for path in [*folder.glob("peer_*.py"), folder / "shared_settings.py", *trials]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                ours.add((path.name, str(node.module)))
    packages = ("shards", "augengine", "trainer", "tools")
    assert {m for _, m in ours if m.split(".")[0] in packages} == {"trainer.nets.resnet"}
    here = {m for name, m in ours if name == "shared_settings.py"}
    assert here == {"dataclasses"}
