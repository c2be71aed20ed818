"""Sixteen runs that differ in four switches alone."""

from typing import Any

from torch import nn

from benchmarks.ablations.asymmetry_paper import ALL, Switches
from trainer.methods.method_table import create_method
from trainer.nets.backbones import create_backbone
from trainer.settings.strict import merge, parse_override


def settings_of(what: Switches) -> tuple[str, dict[str, Any], float]:
    """The method's name, its settings and the rate."""
    words, values = what.words(), {}
    for word in words[4:]:
        values = merge(values, parse_override(word))
    return words[1], values["method"], values["optim"]["base_lr"]


def test_each_switch_is_one_setting() -> None:
    """Sixteen different runs that build; all else is alike."""
    assert len(set(ALL)) == 16
    for what in ALL:
        name, settings, rate = settings_of(what)
        assert name == ("mocov2" if what.negatives else "byol")
        assert settings["predictor"] is what.predictor
        assert settings["symmetric"] is what.symmetric
        assert (settings["momentum"] > 0) == settings["ramp"] == what.momentum
        assert rate == (0.2 if what.symmetric else 0.4)
        backbone = create_backbone("resnet10", width=0.125, stem="small")
        method = create_method(name, backbone, settings)
        layers = method.get_submodule("projector").children()
        heads = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
        assert heads == [256, 64]
        assert any("predictor" in key for key, _ in method.named_parameters()) == what.predictor
        assert method.sync_batch_norm


def test_labels_are_the_papers_signs() -> None:
    """MoCo v2+ has all four; the line is told by the negatives."""
    whole = Switches(negatives=True, predictor=True, momentum=True, symmetric=True)
    assert whole.cell.label == "+n, +p +m +s"
    assert {switches.cell.series for switches in ALL} == {"+n", "-n"}
