"""The overlay of a command on a recipe: what is typed wins, and a name brings its own keys.

Key by key the command wins. But whoever names a policy, a method or an encoder means that one, not
that one changed by what a recipe said of another: the recipe's keys for it are left out, and a
sentence says which. A stem belongs to the size of the images: where sizes, a policy or an encoder
are typed and the recipe's stem does not suit the views, it gives way to `auto`. The demo's
evaluation set belongs to the demo: it goes where other images are typed.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shards.errors import UsageError
from shards.packing.demo_folder import DEMO
from shards.terminal.counted import counted
from trainer.nets.backbones import BACKBONES, SMALL_IMAGE_PX
from trainer.recipes.recipe import open_section
from trainer.settings.policy_config import has_groups
from trainer.settings.strict import flatten, merge

# What one kind of encoder has alone: trainer/nets/backbones.py refuses them for any other.
KIND_KEYS = {
    "resnet": ("stem", "width", "zero_init_residual"),
    "vit_": ("position", "freeze_patch", "drop_path", "init", "heads"),
}
_CHOOSES_STEM = ("policy.sizes", "policy.name", "backbone.arch")
# The largest views that are too small for a stride of 4 in the stem. Between these and 64 px, from
# where on `auto` takes that stem, both will do: the small one costs 16 times as much.
_TINY_VIEW_PX = 40


def overlay(
    recipe: Mapping[str, Any],
    command: Mapping[str, Any],
    *,
    keep_stem: bool = False,  # the recipe is of the run that goes on
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The merged mapping, and a sentence about every section that a name has replaced."""
    base, notes = dict(recipe), []
    for section, rule in _RULES.items():
        old, new = base.get(section), command.get(section)
        if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
            continue  # nothing to replace, or nothing that reads: refused when it is resolved
        base[section] = rule(old, new)
        gone = _lost(old, base[section])
        name = new.get("arch" if section == "backbone" else "name")
        if gone and name is not None:
            notes.append(f"{section} {name} as it is; of the recipe no longer holds: {gone}")
    data = base.get("data")
    if isinstance(data, Mapping) and "train" in command.get("data", {}):
        # What was of other sets; a run that goes on finds its past in its checkpoint.
        base["data"] = {key: value for key, value in data.items() if key != "former_weights"}
    freed = (None if keep_stem else _free_stem(base, command), _free_evaluation(base, command))
    notes += filter(None, freed)
    policy = command.get("policy")
    if isinstance(policy, Mapping) and isinstance(base.get("policy"), Mapping):
        command = {**command, "policy": _by_group(base["policy"], policy)}
    return merge(base, command), tuple(notes)


def _policy(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing under a policy that is named; else the recipe's, in full, so that any key wins."""
    if "name" in new:
        return {}
    whole = asdict(open_section("policy", old).written_out())
    return {key: whole[key] for key in ("name", "groups")} | whole["changes"]


def _method(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe's settings belong to the recipe's method."""
    return {} if new.get("name", old.get("name")) != old.get("name") else old


def _backbone(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what the recipe says of a ResNet or a ViT, when the command names another kind."""
    arch = str(new.get("arch", old.get("arch")))
    if "arch" not in new:
        return old
    own = arch if arch in BACKBONES else ""  # nothing is known of one's own
    foreign = [key for kind, keys in KIND_KEYS.items() if not own.startswith(kind) for key in keys]
    return {key: value for key, value in old.items() if key not in foreign}


def _free_stem(base: dict[str, Any], command: Mapping[str, Any]) -> str | None:
    """Take the recipe's stem out when what it was chosen for is typed anew; a sentence if so."""
    backbone = base.get("backbone")
    if not isinstance(backbone, Mapping) or backbone.get("stem", "auto") == "auto":
        return None
    typed = {key for key, _ in flatten(command)}
    reasons = [key for key in _CHOOSES_STEM if key in typed]
    if not reasons or "backbone.stem" in typed or _suits(backbone["stem"], merge(base, command)):
        return None
    base["backbone"] = {key: value for key, value in backbone.items() if key != "stem"}
    stem = f"stem={backbone['stem']}"
    return (
        f"backbone.stem=auto, by the size of the views, since {reasons[0]} is given; of the recipe "
        f"no longer holds: {stem} (backbone.{stem} keeps it)"
    )


def _free_evaluation(base: dict[str, Any], command: Mapping[str, Any]) -> str | None:
    """Take the demo's evaluation set out when other images are trained on; a sentence if so."""
    scored = base.get("eval")
    data = scored.get("data") if isinstance(scored, Mapping) else None
    train = command.get("data", {}).get("train")
    if not _is_demo(data) or train is None or _is_demo(train):
        return None
    if "eval.data" in {key for key, _ in flatten(command)}:
        return None
    base["eval"] = {key: value for key, value in dict(scored or {}).items() if key != "data"}
    return f"eval.data={data} left out, whose classes are the demo's; --eval-data gives your own"


def _is_demo(data: object) -> bool:
    return isinstance(data, str) and data.partition(":")[0] == DEMO


def _suits(stem: object, values: Mapping[str, Any]) -> bool:
    try:
        policy = open_section("policy", values.get("policy") or {}).load()
    except UsageError:  # said when all of it is resolved
        return True
    largest_px = max(group.size_px for group in policy.groups)
    return largest_px <= SMALL_IMAGE_PX if stem in ("small", "half") else largest_px > _TINY_VIEW_PX


_RULES = {"policy": _policy, "method": _method, "backbone": _backbone}


def _lost(old: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value}" for key, value in flatten(old) if key != "name" and key not in kept
    )


def _by_group(base: Mapping[str, Any], policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """Changes of groups as changes of the groups that are written out, each in its place."""
    own, given = base.get("groups") or (), policy.get("groups")
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        return policy
    if not has_groups(own) or has_groups(given):
        return policy
    if len(given) > len(own):
        raise UsageError(
            f"policy.groups changes the {counted(len(own), 'crop group')} of the policy, got "
            f"{len(given)} entries; leave the last ones out"
        )
    changed = [merge(group, changes) for group, changes in zip(own, given, strict=False)]
    return {**policy, "groups": [*changed, *own[len(given) :]]}
