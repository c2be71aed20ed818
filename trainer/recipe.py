"""Recipes: YAML that fills the config, and the way back to YAML.

`run.py` merges defaults < recipe < flags < key=value and calls `resolve`; what it returns is
written to the run's config.yaml by `to_yaml`, which is a recipe again.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from augengine.policy_file import VIEW_FIELDS
from augengine.yaml_text import YamlError, parse_yaml
from shards.errors import UsageError
from trainer.checks import choose
from trainer.config import MethodConfig, PolicyConfig, TrainConfig
from trainer.former import as_it_was
from trainer.methods.table import method_settings
from trainer.strict import build, check_keys, coerce, flatten, to_mapping

RECIPES = Path(__file__).parent / "recipes"
# What may differ when a run continues: none of it decides what is learned, but that who goes on
# with fewer GPUs may have to accumulate. (The images are compared by their index's fingerprint.)
FREE_ON_RESUME = ("run.", "eval.", "data.", "loop.accumulate")

# Sections whose other keys belong to someone else, who checks them: a method, a policy.
_OPEN_SECTIONS: dict[str, tuple[type, str]] = {
    "policy": (PolicyConfig, "changes"),
    "method": (MethodConfig, "settings"),
}


def resolve(values: Mapping[str, Any]) -> TrainConfig:
    """The config that a merged mapping says; UsageError names the first thing that is wrong."""
    values = dict(values)
    for section, (cls, catch_all) in _OPEN_SECTIONS.items():
        given = values.get(section)
        if isinstance(given, Mapping):
            own = [f.name for f in fields(cls) if f.name != catch_all]
            check_keys(given, [*own, *_foreign_keys(section, given)], section)
            values[section] = _collect(given, own, catch_all)
    return build(TrainConfig, values)


def as_mapping(config: TrainConfig) -> dict[str, Any]:
    """The config as nested plain values in the order of this file; `resolve` is the inverse."""
    values = to_mapping(config)
    for section, (_, catch_all) in _OPEN_SECTIONS.items():
        values[section].update(values[section].pop(catch_all))
    return values


def to_yaml(config: TrainConfig) -> str:
    """The config as YAML; `resolve` reads it back equal."""
    return yaml.safe_dump(as_mapping(config), sort_keys=False, default_flow_style=False)


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """A recipe's mapping, from a shipped name or a YAML file."""
    shipped = RECIPES / f"{name_or_path}.yaml"
    path = shipped if shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        if path.name == name_or_path and not path.suffix:
            choose("recipe", name_or_path, recipe_names())
        raise UsageError(
            f"--config takes a recipe's name or a YAML file, got no file {name_or_path}; "
            "python -m trainer.run --list names the recipes"
        )
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (YamlError, UnicodeDecodeError) as error:
        raise UsageError(f"a recipe is valid YAML, got {path}: {error}; fix that line") from None
    if not isinstance(values or {}, dict):
        raise UsageError(f"a recipe is a mapping of keys, got {path}; see {RECIPES}/swav.yaml")
    return values or {}


def changed_on_resume(before: Mapping[str, Any], now: TrainConfig) -> list[str]:
    """The keys that differ and may not, as "key: old -> new"; one not known before: its default."""
    defaults = dict(flatten(as_mapping(TrainConfig())))
    old, new = defaults | dict(flatten(as_it_was(before))), dict(flatten(as_mapping(now)))
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in differing
        if not key.startswith(FREE_ON_RESUME)
    ]


def _foreign_keys(section: str, values: Mapping[str, Any]) -> list[str]:
    """The keys that a method or a view policy knows, so that a slip is told the nearest of all."""
    if section == "policy":
        return [*VIEW_FIELDS, "mean", "std"]
    name = coerce(str, values.get("name", MethodConfig().name), "method.name")
    return [field.name for field in fields(method_settings(name, {}))]


def _collect(values: Mapping[str, Any], own: list[str], catch_all: str) -> dict[str, Any]:
    """{"name": "swav", "x": 1} as {"name": "swav", "settings": {"x": 1}}."""
    others = {key: value for key, value in values.items() if key not in own}
    return {key: value for key, value in values.items() if key in own} | {catch_all: others}
