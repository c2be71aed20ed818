"""The fitted recipe of a run that is given weights: their encoder, and rates for going on."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sets import write_set
from toy_checkpoints import encoder
from typed import typed

from trainer.build import build_parts
from trainer.fitted.fit_rule import Facts, fit, fit_published
from trainer.fitted.fitted_config import fitted_config
from trainer.fitted.method_rules import RULES
from trainer.nets.backbones import create_backbone
from trainer.optim.schedule import peak_lr
from trainer.recipes.overlay import overlay
from trainer.recipes.recipe import read_recipe, resolve
from trainer.record.rundir import read_config
from trainer.settings.strict import flatten, merge
from trainer.weights.source import sha256_of

RESNET = {"arch": "resnet50", "stem": "imagenet"}


def facts(given: dict[str, Any] | None, **other: Any) -> Facts:
    """Of 7,000 images of 32 px on a CPU."""
    values = {"device": "cpu", "memory_bytes": 2**34, "cores": 2, "median_px": 32} | other
    return Facts(images=7_000, given=given, **values)


def chosen(given: dict[str, Any] | None, words: dict[str, Any], **other: Any) -> dict[str, Any]:
    """By dotted key; the whole is a config that resolves."""
    fitted = fit(facts(given, **other), 30, words)
    resolve(merge(fitted.values, words)).policy.load()
    return dict(flatten(fitted.values))


@pytest.mark.parametrize("method", ["simclr", "mocov2", "byol"])
def test_a_resnet_goes_on_at_a_quarter_of_the_rate(method: str) -> None:
    """Depth and stem are the weights', whatever the views; MoCo's rate is then HPT's, 0.03."""
    found = chosen(RESNET, {"method": {"name": method}})
    assert found["backbone.arch"] == "resnet50"
    assert found["backbone.stem"] == "imagenet"
    assert found.get("backbone.width", 1) == 1
    assert found["optim.base_lr"] == pytest.approx(RULES[method].lr / 4)
    assert found["optim.warmup_epochs"] == 10
    assert method != "mocov2" or found["optim.base_lr"] == pytest.approx(0.03)
    assert "optim.layer_decay" not in found


def test_a_vits_views_are_whole_patches() -> None:
    """Of 14 px for DINOv2's; rates fall a block down, as DINOv3's."""
    found = chosen({"arch": "vit_small14"}, {"method": {"name": "dino"}}, median_px=64)
    sizes = [int(px) for px in found["policy.sizes"].split("+")]
    assert [px % 14 for px in sizes] == [0, 0]
    assert found["optim.base_lr"] == pytest.approx(1.25e-4)
    assert found["optim.layer_decay"] == 0.98
    heads = chosen({"arch": "vit_small16", "heads": 12}, {})
    assert (heads["backbone.arch"], heads["backbone.heads"]) == ("vit_small16", 12)


def test_what_is_typed_stays() -> None:
    """Another arch takes nothing of the weights' (they are refused when it is filled)."""
    words = {"backbone": {"arch": "vit_tiny16"}, "optim": {"base_lr": 0.5}}
    found = chosen(RESNET, words)
    assert not {"backbone.stem", "backbone.arch", "optim.base_lr"} & set(found)


def test_weights_that_are_not_known_change_the_rates_only() -> None:
    """An encoder that only timm has; Muon, measured from scratch, gives way to SGD besides."""
    words = {"optim": {"name": "sgd"}}
    known, unknown = chosen(None, words), chosen({}, words)
    changed = {key for key in known if known[key] != unknown.get(key)}
    assert changed == {"optim.base_lr", "optim.warmup_epochs"}
    assert (chosen(None, {})["optim.name"], chosen({}, {})["optim.name"]) == ("muon", "sgd")


@pytest.mark.parametrize("given", [RESNET, {"arch": "vit_base16"}])
def test_a_published_recipe_goes_on_too(given: dict[str, Any]) -> None:
    """On a GPU with many images: the encoder of the weights, and a quarter of the recipe's rate."""
    at = facts(given, device="cuda", median_px=400)
    recipe = read_recipe("byol")
    values, _ = overlay(recipe, fit_published(at, recipe, 100, {}).values)
    config = resolve(values)
    assert config.backbone.arch == given["arch"]
    is_vit = given["arch"].startswith("vit")
    assert config.optim.name == ("adamw" if is_vit else "lars")
    whole = 5e-4 if is_vit else recipe["optim"]["base_lr"]
    assert config.optim.base_lr == pytest.approx(whole / 4)


def test_a_rate_goes_on_by_the_recipe_s_own_scaling() -> None:
    """DCL's has the root of the batch: AdamW's rate for a batch of 256 is still a quarter."""
    at = facts({"arch": "vit_base16"}, device="cuda", median_px=400)
    recipe = read_recipe("dcl")
    optim = resolve(overlay(recipe, fit_published(at, recipe, 100, {}).values)[0]).optim
    assert (optim.name, optim.scaling) == ("adamw", "sqrt")
    assert peak_lr(optim.base_lr, 256, optim.scaling) == pytest.approx(5e-4 / 4)


def test_weights_alone_are_enough(tmp_path: Path) -> None:
    """Typed as a user types it: the encoder is told from the file, and the run says so."""
    write_set(tmp_path / "train", [i % 3 for i in range(40)])
    keys = {"arch": "resnet10", "width": 0.125, "stem": "small"}
    torch.save(encoder(keys).state_dict(), tmp_path / "mine.pth")
    command = "python -m trainer.run --data train --epochs 1 --out run --sizes 16"
    said = typed(f"{command} backbone.weights=mine.pth", tmp_path)
    config = read_config(tmp_path / "run").backbone
    assert (config.arch, config.width, config.stem) == ("resnet10", 0.125, "small")
    assert config.weights == str(tmp_path / "mine.pth")
    assert "what backbone.weights are of" in said
    assert "weights: 60 of 60 tensors from " in said


def test_a_timed_run_reads_its_weights_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To recognise the network and to fill it; the pace is measured without them."""
    data, weights = write_set(tmp_path / "set", [0] * 24), tmp_path / "w.pt"
    small = create_backbone("resnet10", width=0.125, stem="small")
    torch.save(small.state_dict(), weights)
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr("trainer.weights.source.sha256_of", counting)
    monkeypatch.setattr("trainer.fitted.pace.MEASURED_SECONDS", 0.01)
    command = {
        "data": {"train": str(data), "workers": 1, "backend": "kornia", "decoder": "pillow"},
        "policy": {"views": "2", "sizes": "16"},
        "backbone": {"weights": str(weights)},
        "run": {"device": "cpu"},
    }
    with ExitStack() as stack:
        config, _ = fitted_config(command, 5.0, stack)
    taken = build_parts(config).taken
    assert taken is not None
    assert taken.matched == taken.of
    assert read == [weights, weights]
