"""The fitted recipe: what is typed stays, what depends on it follows, the rest fits the data."""

from pathlib import Path
from typing import Any

import pytest

from shards.errors import UsageError
from trainer.fitted.choices import Fitted
from trainer.fitted.fit_rule import METHOD, Facts, default_epochs, fit, fit_published
from trainer.fitted.method_rules import RULES
from trainer.methods.method_table import METHODS
from trainer.optim.schedule import peak_lr
from trainer.recipes.recipe import read_recipe, resolve
from trainer.settings.strict import flatten, merge

GIB = 2**30


def facts(images: int = 7_000, median_px: int = 64, **other: object) -> Facts:
    """Of a small set on a CPU of two cores."""
    values = {"device": "cpu", "memory_bytes": 16 * GIB, "cores": 2} | other
    return Facts(images=images, median_px=median_px, **values)  # type: ignore[arg-type]


def leaves(fitted: Fitted) -> dict[str, Any]:
    """By dotted key."""
    return dict(flatten(fitted.values))


@pytest.mark.parametrize("method", ["ressl", "sce", "msf"])
def test_a_teacher_sees_a_weak_view(method: str) -> None:
    """The first is cropped and flipped; colours, at half strength, are the others' alone."""
    typed = {"method": {"name": method}}
    config = resolve(merge(fit(facts(), 10, typed).values, typed))
    first, *others = (view for _, _, view in config.policy.load().flat_views)
    assert len(others) == 7
    assert (first.jitter, first.gray, first.blur) == (0, 0, 0)
    assert {(view.jitter, view.gray, view.brightness) for view in others} == {(0.8, 0.2, 0.4)}


@pytest.mark.parametrize("method", [name for name in METHODS if name != "distill"])
@pytest.mark.parametrize("images", [12, 1_000, 7_000, 50_000, 1_300_000])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("median_px", [28, 64, 375])
def test_every_method_gets_a_whole_config(
    method: str, images: int, device: str, median_px: int
) -> None:
    """For any size of set and images the keys resolve, and no batch is larger than the set."""
    at, typed = facts(images, median_px, device=device), {"method": {"name": method}}
    config = resolve(merge(fit(at, 10, typed).values, typed))
    assert config.method.name == method
    assert config.loop.batch_size <= images
    policy = config.policy.load()
    assert max(group.size_px for group in policy.groups) <= max(16, 224)
    settings = config.method.settings
    if "queue_length" in settings:
        assert settings["queue_length"] % config.loop.batch_size == 0
        assert settings["queue_length"] <= max(config.loop.batch_size, images // 2)
    if method in ("swav", "dino"):
        assert settings["out_dim"] < settings["num_prototypes"] or images < 100
    if method == "deepclusterv2":
        assert settings["num_prototypes"] <= images


def test_every_value_has_a_reason() -> None:
    """All that is chosen is told, in a few words, and nothing else is set."""
    fitted = fit(facts(), 10, {"method": {"name": "swav"}}, "typed nowhere")
    told = {key: value for key, value, _ in fitted.reasons}
    assert told == leaves(fitted)
    assert all(0 < len(why) <= 70 for _, _, why in fitted.reasons)


def test_all_shipped_methods_have_a_rule() -> None:
    """Distillation follows its teacher, and has the general one."""
    assert set(RULES) == set(METHODS) - {"distill"}
    assert METHOD in RULES


def test_typed_values_stay_and_what_depends_on_them_follows() -> None:
    """Prototypes follow a typed batch, the stem typed sizes, head widths a typed encoder."""
    typed = {
        "method": {"name": "swav"},
        "loop": {"batch_size": 256},
        "policy": {"sizes": "32+16"},
        "backbone": {"arch": "resnet50"},
    }
    fitted = leaves(fit(facts(), 10, typed))
    assert not {"loop.batch_size", "policy.sizes", "backbone.arch"} & set(fitted)
    assert fitted["method.num_prototypes"] == 192
    assert fitted["method.hidden_dim"] == 2048
    assert fitted["backbone.stem"] == "small"
    assert "backbone.width" not in fitted  # whoever names an encoder means that one


def test_a_named_policy_keeps_its_strengths() -> None:
    """Only sizes, which belong to the images, are fitted, one for each of its crop groups."""
    typed = {"policy": {"name": "dino"}}
    fitted = leaves(fit(facts(), 10, typed))
    policy = {key: value for key, value in fitted.items() if key.startswith("policy.")}
    assert policy == {"policy.sizes": "64+32"}
    config = resolve(merge(fit(facts(), 10, typed).values, typed))
    assert [group.size_px for group in config.policy.load().groups] == [64, 32]


def test_a_policy_file_of_ones_own_keeps_its_sizes(tmp_path: Path) -> None:
    """Its author chose them; a published policy's are for other images."""
    path = tmp_path / "mine.yaml"
    path.write_text("groups: [{count: 2, size_px: 40, views: [{scale: [0.4, 1.0]}]}]")
    fitted = leaves(fit(facts(), 10, {"policy": {"name": str(path)}}))
    assert not [key for key in fitted if key.startswith("policy.")]
    assert fitted["backbone.stem"] == "small"


def test_one_typed_size_is_of_views_of_one_size() -> None:
    """Local views come with a size of their own, or not at all."""
    fitted = leaves(fit(facts(), 10, {"policy": {"sizes": "48"}}))
    assert (fitted["policy.views"], fitted["policy.groups"]) == ("2", [{"scale": [0.2, 1.0]}])
    assert leaves(fit(facts(), 10, {"policy": {"sizes": "48+24"}}))["policy.views"] == "2+6"
    fitted = leaves(fit(facts(), 10, {"method": {"name": "fastsiam"}}))
    assert (fitted["policy.views"], fitted["policy.sizes"]) == ("4", "64")


def test_views_of_no_count_change_nothing() -> None:
    """2+0 is 2: large crops alone, which begin smaller than those beside local ones."""
    alone, counted = (
        resolve(merge(fit(facts(), 10, typed).values, typed)).policy.load()
        for typed in ({"policy": {"views": views}} for views in ("2", "2+0"))
    )
    assert counted == alone
    assert alone.groups[0].views[0].scale == (0.2, 1.0)


def test_a_policy_in_full_is_left_alone() -> None:
    """Groups that are written out say everything."""
    groups = [{"count": 2, "size_px": 48, "views": [{"scale": [0.5, 1.0]}]}]
    fitted = leaves(fit(facts(), 10, {"policy": {"name": "mine", "groups": groups}}))
    assert not [key for key in fitted if key.startswith("policy.")]
    assert fitted["backbone.stem"] == "imagenet"


def test_momentum_and_warmup_follow_the_length() -> None:
    """A teacher of a short run forgets sooner; a long run has the published value."""
    byol = {"method": {"name": "byol"}}
    short, long = (leaves(fit(facts(), epochs, byol)) for epochs in (10, 1_000))
    assert short["method.momentum"] == pytest.approx(1 - 10 / 1093, abs=1e-4)
    assert long["method.momentum"] == 0.996
    assert (short["optim.warmup_epochs"], long["optim.warmup_epochs"]) == (1, 100)


def test_views_are_as_large_as_the_images_up_to_what_the_device_can_pay() -> None:
    """28 px give 32, a photograph 64 on a CPU and 224 on a GPU; local views about half."""
    sizes = {
        (px, device): leaves(fit(facts(median_px=px, device=device), 1, {}))["policy.sizes"]
        for px, device in ((28, "cpu"), (375, "cpu"), (64, "cuda"), (375, "cuda"))
    }
    assert list(sizes.values()) == ["32+16", "64+32", "64+32", "224+96"]


def test_a_batch_leaves_steps_enough() -> None:
    """Fifty an epoch; 1,500 in all, unless that would take batches of fewer than 64."""
    batches = {
        (images, epochs): leaves(fit(facts(images), epochs, {}))["loop.batch_size"]
        for images, epochs in ((1_000, 100), (7_000, 5), (7_000, 30), (50_000, 10))
    }
    assert list(batches.values()) == [32, 64, 128, 128]


def test_ranks_and_memory_bound_the_batch() -> None:
    """It is a multiple of what ranks and accumulation need, and what a GPU holds."""
    three = leaves(fit(facts(ranks=3), 1, {"loop": {"accumulate": 2}}))["loop.batch_size"]
    assert three % 12 == 0
    small = facts(200_000, 375, device="cuda", memory_bytes=8 * GIB)
    assert leaves(fit(small, 1, {}))["loop.batch_size"] == 16


def test_a_gpu_with_a_large_set_takes_the_published_recipe() -> None:
    """But for a batch that it holds; the recipe's own rule gives the rate."""
    large = facts(1_281_167, 375, device="cuda", memory_bytes=80 * GIB, cores=16)
    assert large.takes_published
    assert not facts(1_281_167, 375).takes_published
    fitted = leaves(fit_published(large, read_recipe("byol"), 100, {}))
    assert fitted == {"loop.epochs": 100, "loop.batch_size": 128, "data.workers": 8}
    typed = fit_published(large, read_recipe("byol"), 100, {"loop": {"batch_size": 512}})
    assert "loop.batch_size" not in leaves(typed)


def test_a_score_is_promised_where_there_are_images_for_it() -> None:
    """Without --eval-data the reason says what it would take."""
    reasons = [
        {key: why for key, _, why in fit(facts(), 10, typed).reasons}["eval.every_epochs"]
        for typed in ({}, {"eval": {"data": "sets/val"}})
    ]
    score = "a kNN score halfway and at the end"
    assert reasons == [f"{score}, where --eval-data is given", score]


def test_the_length_without_a_word() -> None:
    """On a CPU it is a time; on a GPU fewer passes of more images."""
    assert default_epochs(facts()) is None
    lengths = [default_epochs(facts(images, device="cuda")) for images in (1_000, 100_000, 10**6)]
    assert lengths == [400, 200, 100]


@pytest.mark.parametrize(
    ("typed", "name", "base_lr"),
    [
        ({"loop": {"batch_size": 64}}, "muon", 0.08),
        ({"backbone": {"arch": "resnet18", "width": 1.0}}, "sgd", 0.4),
        ({"method": {"name": "fastsiam"}}, "sgd", 0.5),
        ({"backbone": {"arch": "vit_tiny16"}}, "adamw", 5e-4),
        ({"backbone": {"arch": "vit_tiny16"}, "optim": {"name": "sgd"}}, None, 0.4),
        ({"optim": {"name": "adamw"}}, None, 5e-4),
        ({"optim": {"name": "lars"}}, None, None),
        ({"optim": {"name": "muon"}, "loop": {"batch_size": 64}}, None, 0.08),
        ({"optim": {"name": "muon"}, "loop": {"batch_size": 128}}, None, 0.04),
        ({"optim": {"name": "muon", "scaling": "sqrt"}, "loop": {"batch_size": 100}}, None, 0.002),
    ],
)
def test_the_optimizer_follows_the_encoder(
    typed: dict[str, dict[str, str]], name: str | None, base_lr: float | None
) -> None:
    """And its rate the optimizer: Muon's step is 0.02 at any batch, of LARS none is known.

    Muon is for what it was measured on: narrow ResNets, and methods that gained.
    """
    fitted = leaves(fit(facts(), 10, typed))
    assert fitted.get("optim.name") == name
    assert fitted.get("optim.base_lr") == base_lr


@pytest.mark.parametrize(("images", "negatives"), [(10_000, 0), (50_000, 0), (100_000, None)])
def test_instdisc_takes_all_rows_of_few_images(images: int, negatives: int | None) -> None:
    """As its authors advise for CIFAR; of more images it draws as many as published."""
    typed = {"method": {"name": "instdisc"}}
    fitted = leaves(fit(facts(images), 10, typed))
    assert fitted.get("method.num_negatives") == negatives
    assert fitted["method.temperature"] == (0.2 if negatives is None else 0.1)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_rates_follow_a_typed_scaling(name: str) -> None:
    """The peak of a batch of 256 is the same whether rates grow with the batch or its root."""
    peaks = []
    for scaling in ("linear", "sqrt"):
        typed = {"optim": {"name": name, "scaling": scaling}, "loop": {"batch_size": 256}}
        optim = resolve(merge(fit(facts(), 10, typed).values, typed)).optim
        rates = [rate for rate in (optim.base_lr, optim.base_lr_1d) if rate is not None]
        peaks.append([peak_lr(rate, 256, optim.scaling) for rate in rates])
    assert peaks[0] == pytest.approx(peaks[1])


def test_one_image_is_refused() -> None:
    """In one line."""
    with pytest.raises(UsageError, match="at least 2 images, got 1"):
        facts(1)
