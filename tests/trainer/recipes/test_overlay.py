"""The command over the recipe: a name brings its own keys, and a sentence says what is gone."""

from pathlib import Path

import pytest

from augengine.policies import FOLDER, load_policy
from shards.errors import UsageError
from trainer.recipes.overlay import overlay
from trainer.recipes.recipe import read_recipe, resolve
from trainer.settings.strict import parse_override

RECIPE = {
    "policy": {"name": "swav", "views": "2", "sizes": "64", "jitter": 1.0, "groups": [{"hue": 0.5}]}
}


def jitter_of(policy: dict) -> list[float]:
    return [view.jitter for _, _, view in resolve({"policy": policy}).policy.load().flat_views]


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """An own policy file without colour jitter, of one group."""
    path = tmp_path / "mine.yaml"
    path.write_text("groups: [{count: 3, size_px: 40, views: [{scale: [0.2, 1], jitter: 0.0}]}]\n")
    return str(path)


def test_a_policy_that_is_named_wins_over_the_recipes_keys(mine: str) -> None:
    """The file as it is; the keys of the recipe are gone, and the sentence names each of them."""
    values, (note,) = overlay(RECIPE, {"policy": {"name": mine}})
    policy = resolve(values).policy.load()
    assert (policy.groups, policy.std) == (load_policy(mine).groups, load_policy(mine).std)
    assert note.startswith(f"policy {mine} as it is; of the recipe no longer holds: ")
    for gone in ("views=2", "sizes=64", "jitter=1.0", "groups=[{'hue': 0.5}]"):
        assert gone in note


def test_what_is_typed_goes_over_the_policy_that_is_typed(mine: str) -> None:
    """--views, --sizes and policy.* beside --policy apply to it."""
    command = {"policy": {"name": mine, "views": "2", "sizes": "32", "hue": 0.1}}
    (group,) = resolve(overlay(RECIPE, command)[0]).policy.load().groups
    assert (group.count, group.size_px, group.views[0].hue) == (2, 32, 0.1)
    assert group.views[0].jitter == 0


@pytest.mark.parametrize("name", [path.stem for path in FOLDER.glob("*.yaml")])
def test_a_published_policy_that_is_named_is_as_published(name: str) -> None:
    """Shipped names follow the same rule as files."""
    values, _ = overlay(read_recipe("simclr_demo"), {"policy": {"name": name}})
    assert resolve(values).policy.load().groups == load_policy(name).groups


def test_a_key_that_is_typed_wins_over_a_group_of_the_recipe() -> None:
    """policy.scale holds for every view although the recipe says another one of each group."""
    recipe = read_recipe("swav_demo")
    values, notes = overlay(recipe, parse_override("policy.scale=[0.3, 0.9]"))
    views = [view for _, _, view in resolve(values).policy.load().flat_views]
    assert {view.scale for view in views} == {(0.3, 0.9)}
    assert {view.hue for view in views} == {0.5}  # the recipe's other keys stay
    assert notes == ()


def test_a_group_is_changed_in_its_place() -> None:
    """policy.groups over a policy that is written out, also past a group that is left out."""
    whole = resolve({"policy": {"views": "0+6"}}).policy
    recipe = {"policy": {"groups": list(whole.groups), **whole.changes}}
    values, _ = overlay(recipe, {"policy": {"groups": [{"blur": 0.0}, {"blur": 1.0}]}})
    (group,) = resolve(values).policy.load().groups
    assert (group.size_px, group.views[0].blur) == (96, 1.0)
    with pytest.raises(UsageError, match="changes the 2 crop groups of the policy, got 3"):
        overlay(recipe, {"policy": {"groups": [{}, {}, {}]}})


def test_a_method_that_is_named_leaves_the_recipes_settings() -> None:
    """Settings belong to the recipe's method; the same name keeps them."""
    recipe = {"method": {"name": "simclr", "out_dim": 64, "temperature": 0.2}}
    values, (note,) = overlay(recipe, {"method": {"name": "byol", "out_dim": 32}})
    assert values["method"] == {"name": "byol", "out_dim": 32}
    assert "method byol as it is; of the recipe no longer holds: " in note
    assert "temperature=0.2" in note
    values, notes = overlay(recipe, {"method": {"name": "simclr"}})
    assert (values, notes) == (recipe, ())


def test_an_arch_of_another_kind_leaves_the_others_keys() -> None:
    """A ViT takes no stem and no width from a ResNet's recipe, and that is said."""
    recipe = {"backbone": {"arch": "resnet10", "width": 0.25, "stem": "imagenet"}}
    values, (note,) = overlay(recipe, {"backbone": {"arch": "vit_tiny4"}})
    assert values["backbone"] == {"arch": "vit_tiny4"}
    assert "width=0.25, stem=imagenet" in note


@pytest.mark.parametrize(("stem", "typed", "key"), [
    ("imagenet", {"policy": {"sizes": "32+16"}}, "policy.sizes"),
    ("small", {"policy": {"sizes": "96+32"}}, "policy.sizes"),
    ("small", {"policy": {"name": "simsiam"}}, "policy.name"),
    ("imagenet", {"policy": {"sizes": "32+16"}, "backbone": {"arch": "resnet18"}}, "policy.sizes"),
])  # fmt: skip
def test_a_stem_gives_way_to_sizes_that_it_does_not_suit(stem: str, typed: dict, key: str) -> None:
    """auto, as --help says, and the sentence says why; other keys of the encoder stay."""
    recipe = {"backbone": {"arch": "resnet10", "width": 0.25, "stem": stem}}
    values, notes = overlay(recipe, typed)
    backbone = resolve(values).backbone
    assert (backbone.stem, backbone.width) == ("auto", 0.25)
    assert notes[-1].startswith("backbone.stem=auto, by the size of the views, since " + key)
    assert notes[-1].endswith(f"no longer holds: stem={stem} (backbone.stem={stem} keeps it)")
    assert recipe["backbone"]["stem"] == stem


@pytest.mark.parametrize(("stem", "typed"), [
    ("imagenet", {"policy": {"sizes": "64+32"}}),
    ("small", {"policy": {"sizes": "64+32"}}),
    ("imagenet", {"policy": {"name": "simsiam"}}),
    ("imagenet", {"backbone": {"arch": "resnet18"}}),
])  # fmt: skip
def test_a_stem_stays_where_it_will_do(stem: str, typed: dict) -> None:
    """At 64 px both do, and the recipe has chosen: the small one costs 16 times as much."""
    recipe = {"backbone": {"arch": "resnet10", "stem": stem}}
    assert resolve(overlay(recipe, typed)[0]).backbone.stem == stem


def test_a_stem_that_is_typed_or_of_the_same_run_stays() -> None:
    """A typed key wins as ever; nothing else that is typed touches it, nor does a start again."""
    recipe = {"backbone": {"arch": "resnet10", "stem": "imagenet"}}
    typed = {"policy": {"sizes": "32+16"}, "backbone": {"stem": "imagenet"}}
    for command, keep in ((typed, False), ({"policy": {"sizes": "32"}}, True), ({}, False)):
        values, notes = overlay(recipe, command, keep_stem=keep)
        assert (values["backbone"]["stem"], notes) == ("imagenet", ())
    assert overlay(recipe, {"loop": {"epochs": 3}, "policy": {"views": "2"}})[1] == ()
    assert overlay({"backbone": {"stem": "auto"}}, {"policy": {"sizes": "32"}})[1] == ()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"data": {"train": "sets/mine"}}, None),
        ({"data": {"train": ["sets/a", "sets/b:0.3"]}}, None),
        ({"data": {"train": "sets/mine"}, "eval": {"data": "sets/val"}}, "sets/val"),
        ({"data": {"train": "demo"}}, "demo:test"),
        ({"loop": {"epochs": 1}}, "demo:test"),
    ],
)
def test_the_demos_evaluation_stays_with_the_demo(command: dict, expected: str | None) -> None:
    """Images of one's own are not scored on the demo's classes; a sentence says so."""
    values, notes = overlay(read_recipe("simclr_demo"), command)
    assert resolve(values).eval.data == expected
    assert [note.partition(" ")[0] for note in notes] == (
        ["eval.data=demo:test"] if expected is None else []
    )


def test_an_own_recipes_evaluation_stays() -> None:
    """It may score other training images too: a part of them, or more."""
    recipe = {"data": {"train": "sets/a"}, "eval": {"data": "sets/val"}}
    assert overlay(recipe, {"data": {"train": "sets/b"}})[0]["eval"] == recipe["eval"]
