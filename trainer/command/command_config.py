"""From what was typed to the config of a run: flags and key=value, laid over a recipe.

The recipe is the one that --config names, that of the run which goes on, or one that is fitted to
the data and the machine. `run.py` has the flags; which key each stands for is said here.
"""

import argparse
import shlex
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from augengine.policies import is_policy_file, parse_sizes, parse_views
from augengine.policy_file import VIEW_FIELDS
from shards.errors import UsageError
from shards.plugins.find import check_name
from shards.plugins.importing import never_from
from trainer.command.origins import origins
from trainer.config import TrainConfig
from trainer.fitted.fitted_config import fitted_config, in_minutes
from trainer.methods.method_table import METHODS, settings_class
from trainer.recipes.former import as_it_was
from trainer.recipes.overlay import overlay
from trainer.recipes.recipe import (
    as_mapping,
    demo_defaults,
    read_recipe,
    recipe_names,
    resolve,
)
from trainer.record.rundir import CONFIG_NAME, check_out
from trainer.settings.policy_config import has_groups
from trainer.settings.strict import flatten, merge, parse_override, to_mapping
from trainer.weights.source import check_source

DEMO_METHOD = "swav"
# flag -> key of the config
FLAGS = {
    "data": "data.train",
    "eval_data": "eval.data",
    "eval_train": "eval.train",
    "method": "method.name",
    "terms": "method.terms",
    "policy": "policy.name",
    "views": "policy.views",
    "sizes": "policy.sizes",
    "arch": "backbone.arch",
    "epochs": "loop.epochs",
    "batch_size": "loop.batch_size",
    "seed": "loop.seed",
    "backend": "data.backend",
    "device": "run.device",
}
# What other programs call a key of ours.
_ALIASES = {
    "lr": "optim.base_lr",
    "learning_rate": "optim.base_lr",
    "wd": "optim.weight_decay",
    "optimizer": "optim.name",
    "opt": "optim.name",
    "num_workers": "data.workers",
    "warmup": "optim.warmup_epochs",
    "fp16": "loop.precision",
    "bf16": "loop.precision",
    "amp": "loop.precision",
    "teacher": "method.teacher",
    "pretrained": "backbone.weights",
    "init_from": "backbone.weights",
    "finetune_from": "backbone.weights",
}


def resolve_config(
    args: argparse.Namespace, stack: ExitStack
) -> tuple[TrainConfig, tuple[str, ...]]:
    """Lay flags and overrides over the recipe, and check what can be checked before training.

    Args:
        args: of the command line.
        stack: takes the group of the run's ranks, when they have to meet to measure the pace.

    Returns:
        The config, and sentences about how it came to be.
    """
    if args.out is not None:
        never_from(Path(args.out))  # before any name is looked at
    command = command_of(args)
    _check_length(args, command)
    _check_weights(command, args)
    if args.method is not None and args.method not in METHODS and args.method in recipe_names():
        raise UsageError(
            f"--method names a method, got recipe {args.method}; give --config {args.method}"
        )
    is_of_run = args.resume and args.config is None
    if args.config is None and not is_of_run and command.get("data", {}).get("train"):
        config, notes = fitted_config(command, args.minutes, stack)
    else:
        recipe, notes = _recipe(args, command)
        values, replaced = overlay(recipe, command, keep_stem=is_of_run)
        replaced += _changed_file(recipe, command)
        config = resolve(values)
        notes += () if args.resume else replaced
        if args.resume and args.minutes is not None:
            notes += ("--minutes counts at the start of a run: it goes on to its last epoch",)
        elif args.minutes is not None:
            epochs, why = in_minutes(args.minutes, config, stack)
            config = replace(config, loop=replace(config.loop, epochs=epochs))
            notes += (f"loop.epochs={epochs:g}: {why}",)
    if config.data.train is None:
        raise UsageError(
            "data.train is the folder of the training shards, got null; give --data DIR, or "
            "--data demo for the demo set"
        )
    return config, (*notes, *origins(config))


def command_of(args: argparse.Namespace, flags: Iterable[str] = tuple(FLAGS)) -> dict[str, Any]:
    """The keys that flags and key=value give, as a recipe has them; key=value wins."""
    command: dict[str, Any] = {}
    given = {flag: getattr(args, flag) for flag in flags}
    for flag, value in given.items():
        if value is not None:
            command = merge(command, parse_override(f"{FLAGS[flag]}={_quoted(value)}"))
    for override in args.overrides:
        _refuse_folder(override)
        _refuse_bare_key(override)
        command = merge(command, parse_override(override))
    if given["views"] is not None and given["sizes"] is not None:
        _check_pairs(str(given["views"]), str(given["sizes"]))
    return command


def key_names() -> dict[str, list[str]]:
    """The keys of a config by their last word, and by what other programs call them."""
    names = {alias: [key] for alias, key in _ALIASES.items()}
    keys = [key for key, _ in flatten(as_mapping(resolve({}))) if key != "policy.groups"]
    keys += [f"policy.{field}" for field in VIEW_FIELDS]
    keys.append("method.terms")
    for method in METHODS:
        keys += [f"method.{key}" for key in to_mapping(settings_class(method)())]
    for key in dict.fromkeys(keys):
        names.setdefault(key.rpartition(".")[2], []).append(key)
    return names


def _check_length(args: argparse.Namespace, command: Mapping[str, Any]) -> None:
    """Refuse a time that is none, or that stands beside another length."""
    if args.minutes is None:
        return
    if not 0 < args.minutes < float("inf"):
        raise UsageError(f"--minutes is positive, got {args.minutes:g}; try --minutes 10")
    if "epochs" in command.get("loop", {}):
        raise UsageError(
            f"a run's length is --epochs or --minutes, got both ({command['loop']['epochs']:g} and "
            f"{args.minutes:g}); leave one out"
        )


def _check_weights(command: Mapping[str, Any], args: argparse.Namespace) -> None:
    """A mistyped path is told before the data are looked at, and a pace is measured."""
    weights = _named(command, "backbone", "weights", None)
    if weights is not None and not args.resume and not args.print_config:
        check_source(weights)


def _recipe(
    args: argparse.Namespace, command: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The recipe to start from: named, the run's own, or the demo's; and what to know of it."""
    if args.config is not None:
        given = args.config
        return (dict(given) if isinstance(given, Mapping) else read_recipe(given)), ()
    if args.resume and args.out is not None:
        # A wrong folder is named before a missing recipe in it.
        check_out(Path(args.out), resume=True, overwrite=False)
        values = as_it_was(read_recipe(str(Path(args.out) / CONFIG_NAME)))
        policy = values.get("policy")
        if isinstance(policy, dict) and not has_groups(policy.get("groups") or ()):
            return values, (f"{args.out} names its policy only: the views are today's",)
        return values, ()
    method = check_name("methods", _named(command, "method", "name", DEMO_METHOD), METHODS)
    name = f"{method}_demo"
    return (read_recipe(name), ()) if name in recipe_names() else demo_defaults(method)


def _changed_file(recipe: Mapping[str, Any], command: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence when a recipe names an own policy file and changes it by keys beside the name."""
    name = _named(recipe, "policy", "name", "")
    if not is_policy_file(name) or _named(command, "policy", "name", ""):
        return ()
    beside = {key: value for key, value in recipe["policy"].items() if key != "name" and value}
    if not beside or has_groups(beside.get("groups") or ()):
        return ()
    words = ", ".join(f"{key}={value}" for key, value in flatten(beside))
    return (f"policy {name}, changed by the recipe's {words}; --policy {name} takes it as it is",)


def _check_pairs(views: str, sizes: str) -> None:
    """Both are said at once, so one too many is a slip."""
    if len(parse_views(views)) != len(parse_sizes(sizes)):
        raise UsageError(
            f"--sizes needs one size per count of --views, got {sizes} for {views}; give as many"
        )


def _named(values: Mapping[str, Any], section: str, key: str, default: Any) -> Any:
    inner = values.get(section)
    found = inner.get(key) if isinstance(inner, Mapping) else None
    return found if isinstance(found, str) else default


def _refuse_folder(word: str) -> None:
    """A shell has made several words of a pattern, or several sets stand after one flag."""
    if "=" not in word and ("://" in word or Path(word).is_dir()):
        raise UsageError(
            f"every set has its own --data, got {word} after another; give --data "
            f"{shlex.quote(word)}, or a pattern in quotes: --data 'sets/*'"
        )


def _refuse_bare_key(override: str) -> None:
    """A key without its section, or by another program's name, is told with what it is here."""
    name, equals, value = override.partition("=")
    if not equals or "." in name or name in {found.name for found in fields(TrainConfig)}:
        return
    if meant := key_names().get(name.replace("-", "_")):
        shown = " or ".join(f"{key}={value}" for key in meant)
        raise UsageError(f"a key has its section before it, got {override}; did you mean {shown}?")


def _quoted(value: object) -> str:
    """A flag's value as YAML: texts in quotes, so that --out 1e3 stays a text.

    Of a flag that may be given several times a list of them, or the only one.
    """
    if isinstance(value, list):
        texts = [_quoted(item) for item in value]
        return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return repr(value) if not isinstance(value, str) else "'" + value.replace("'", "''") + "'"
