"""Recipes: YAML that fills the config, and the way back to YAML.

`run.py` merges defaults < recipe < flags < key=value and calls `resolve`; what it returns is
written to the run's config.yaml by `to_yaml`, which is a recipe again.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from augengine.policies import WHOLE_KEYS, is_policy_file
from augengine.policy_file import VIEW_FIELDS
from augengine.yaml_text import YamlError, parse_yaml
from shards.errors import UsageError
from shards.packing.demo_folder import DEMO
from shards.plugins.importing import never_beside, never_from
from trainer.checks import choose
from trainer.config import MethodConfig, PolicyConfig, TrainConfig
from trainer.methods.method_table import method_settings, settings_class
from trainer.recipes.catalogue import RECIPES, recipe_names
from trainer.settings.strict import build, check_keys, coerce, path_fields, to_mapping
from trainer.settings.weighted_sets import expand, written
from trainer.terms.term_table import read_terms, written_out

DEMO_RECIPE = "simsiam_demo"  # what a method without a recipe takes on the demo set
# Sections whose other keys belong to someone else, who checks them: a method, a policy.
_OPEN_SECTIONS: dict[str, tuple[type, str]] = {
    "policy": (PolicyConfig, "changes"),
    "method": (MethodConfig, "settings"),
}


def resolve(values: Mapping[str, Any]) -> TrainConfig:
    """The config that a merged mapping says; UsageError names the first thing that is wrong.

    Policy and method are written out: no file, and no default of another release, can change them.
    """
    values = dict(values)
    for section in _OPEN_SECTIONS:
        given = values.get(section)
        if isinstance(given, Mapping):
            values[section] = to_mapping(open_section(section, given))
    config = build(TrainConfig, values)
    settings = to_mapping(method_settings(config.method.name, config.method.settings))
    terms = written_out(read_terms(config.method.terms))
    return replace(
        config,
        policy=config.policy.written_out(),
        method=replace(config.method, settings=settings, terms=terms),
    )


def demo_defaults(method: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A stand-in for a method's missing recipe for the demo set, and a sentence that says so."""
    kept = ("data", "policy", "backbone", "loop", "eval")
    recipe = read_recipe(DEMO_RECIPE)
    text = f"no recipe for {method}: {', '.join(kept)} are those of {DEMO_RECIPE}, optim's the "
    text += "defaults of trainer/optim/create_optimizer.py; --config names another"
    return {key: recipe[key] for key in kept}, (text,)


def open_section(section: str, given: Mapping[str, Any]) -> Any:
    """The policy's or method's keys as their dataclass, by themselves."""
    cls, catch_all = _OPEN_SECTIONS[section]
    own = [f.name for f in fields(cls) if f.name != catch_all]
    check_keys(given, [*own, *_foreign_keys(section, given)], section)
    return build(cls, _collect(given, own, catch_all), section)


def located(config: TrainConfig) -> TrainConfig:
    """The config with absolute paths: it means the same in whatever folder it is read."""
    sections = {}
    for section in fields(config):
        values = getattr(config, section.name)
        paths = {name: _absolute(getattr(values, name)) for name in path_fields(type(values))}
        sections[section.name] = replace(values, **paths)
    if config.data.train is not None:
        train = written(expand(config.data.train), _absolute)
        sections["data"] = replace(sections["data"], train=train)
    policy, method = config.policy, config.method
    if is_policy_file(policy.name):
        sections["policy"] = replace(policy, name=_absolute(policy.name))
    paths = path_fields(settings_class(method.name))
    own = {key: _absolute(v) if key in paths else v for key, v in method.settings.items()}
    sections["method"] = replace(method, settings=own)
    return replace(config, **sections)


def as_mapping(config: TrainConfig) -> dict[str, Any]:
    """The config as nested plain values in the order of this file; `resolve` is the inverse."""
    values = to_mapping(config)
    for section, (_, catch_all) in _OPEN_SECTIONS.items():
        values[section].update(values[section].pop(catch_all))
    if not values["method"]["terms"]:  # a run without any has no such key
        del values["method"]["terms"]
    return values


def to_yaml(config: TrainConfig) -> str:
    """The config as YAML; `resolve` reads it back equal."""
    return yaml.dump(as_mapping(config), Dumper=_Dumper, sort_keys=False, default_flow_style=False)


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """A recipe's mapping, from a shipped name, a YAML file, or a run's folder.

    From then on no code is imported out of the recipe's folder, unless the command is typed there.
    """
    shipped = RECIPES / f"{name_or_path}.yaml"
    path = shipped if shipped.is_file() else Path(name_or_path)
    path = path / "config.yaml" if path.is_dir() else path  # of a run
    if not path.is_file():
        if path.name == name_or_path and not path.suffix:
            choose("recipe", name_or_path, recipe_names())
        raise UsageError(
            f"--config takes a recipe's name or a YAML file, got no file {name_or_path}; "
            "python -m trainer.run --list names the recipes"
        )
    if path != shipped:
        is_run = path.parent == Path(name_or_path) or (path.parent / "metrics.jsonl").exists()
        never_from(path.parent) if is_run else never_beside(path)
    try:
        values = parse_yaml(_without_head(path.read_text(encoding="utf-8")))
    except (YamlError, UnicodeDecodeError) as error:
        raise UsageError(f"a recipe is valid YAML, got {path}: {error}; fix that line") from None
    if not isinstance(values or {}, dict):
        raise UsageError(f"a recipe is a mapping of keys, got {path}; see {RECIPES}/swav.yaml")
    return _with_policy_beside(values or {}, path.parent)


def _without_head(text: str) -> str:
    """The text with its first comments blank: a run of many starts may be longer than a recipe."""
    lines = text.splitlines(keepends=True)
    head = sum(1 for _ in takewhile(lambda line: line.startswith("#"), lines))
    return "\n" * head + "".join(lines[head:])


def _with_policy_beside(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A policy file is looked for where the command is typed, then beside the recipe."""
    policy = values.get("policy")
    if not isinstance(policy, dict):
        return values
    name = policy.get("name")
    if not (isinstance(name, str) and is_policy_file(name)) or Path(name).is_file():
        return values
    beside = folder / name
    return {**values, "policy": {**policy, "name": str(beside)}} if beside.is_file() else values


def _absolute(value: Any) -> Any:
    """A path, or each of a list, from the root on; addresses, demo set and timm's as they are."""
    if isinstance(value, list | tuple):
        return [_absolute(item) for item in value]
    if not isinstance(value, str) or "://" in value or value.partition(":")[0] in (DEMO, "timm"):
        return value
    return str(Path(value).expanduser().absolute())


class _Dumper(yaml.SafeDumper):
    """Ranges and colours, [0.14, 1.0], stay on a line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        """A list of plain values in flow style."""
        is_plain = not any(isinstance(item, list | dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style or is_plain)


def _foreign_keys(section: str, values: Mapping[str, Any]) -> list[str]:
    """The keys that a method or a view policy knows, so that a slip is told the nearest of all."""
    if section == "policy":
        return [*VIEW_FIELDS, *WHOLE_KEYS]
    name = coerce(str, values.get("name", MethodConfig().name), "method.name")
    return [field.name for field in fields(settings_class(name))]


def _collect(values: Mapping[str, Any], own: list[str], catch_all: str) -> dict[str, Any]:
    """{"name": "swav", "x": 1} as {"name": "swav", "settings": {"x": 1}}."""
    others = {key: value for key, value in values.items() if key not in own}
    return {key: value for key, value in values.items() if key in own} | {catch_all: others}
