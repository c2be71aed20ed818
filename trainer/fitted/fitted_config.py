"""From what was typed, without a recipe, to a config: facts, length, rule and reasons."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from shards.plugins.find import check_name
from shards.terminal.counted import counted
from trainer.config import TrainConfig
from trainer.fitted.choices import Fitted
from trainer.fitted.facts import look_at
from trainer.fitted.fit_rule import (
    CPU_MINUTES,
    METHOD,
    Facts,
    default_epochs,
    fit,
    fit_published,
)
from trainer.fitted.pace import join_ranks, measure_pace
from trainer.fitted.term_rules import fit_terms
from trainer.methods.method_table import METHODS, method_settings
from trainer.recipes.overlay import overlay
from trainer.recipes.recipe import open_section, read_recipe, recipe_names, resolve
from trainer.record.loggers import check_loggers
from trainer.settings.strict import merge
from trainer.setup.data_sets import open_training
from trainer.weights.match import read_given

_OF_NAMES = ("policy", "method")  # sections whose keys belong to what is named in them


def fitted_config(
    command: Mapping[str, Any], minutes: float | None, stack: ExitStack
) -> tuple[TrainConfig, tuple[str, ...]]:
    """The config that fits the data; every key that nobody typed is chosen, and told.

    Args:
        command: the keys that were typed, data.train among them.
        minutes: the time for training, where one was typed.
        stack: takes the group of the run's ranks, when they have to meet to measure the pace.
    """
    section = command.get("method")
    name = section.get("name", METHOD) if isinstance(section, Mapping) else METHOD
    method = check_name("methods", str(name), METHODS)
    if "policy" in command:
        open_section("policy", command["policy"])
    # What is wrong with the typed keys is said before the data are looked at; how policy and method
    # go with the rest is seen once they are fitted.
    typed = resolve({key: value for key, value in command.items() if key not in _OF_NAMES})
    given = None
    if typed.backbone.weights is not None:
        given = read_given(typed.backbone.weights, typed.backbone.weights_part).backbone
    facts = look_at(open_training(typed), typed.run.device)
    facts = replace(facts, given=given)
    recipe = read_recipe(method) if facts.takes_published and method in recipe_names() else None
    is_typed = "epochs" in command.get("loop", {})
    epochs, why = typed.loop.epochs if is_typed else default_epochs(facts), "no length was given"
    if minutes is None and epochs is None:
        minutes = CPU_MINUTES
    if minutes is not None:
        trial, _ = _fit(facts, recipe, 1.0, command)
        epochs, why = in_minutes(minutes, trial, stack)
    assert epochs is not None
    config, fitted = _fit(facts, recipe, epochs, command, why)
    base = "fitted" if recipe is None else f"recipe {method}, fitted"
    head = (
        f"{base} to {counted(facts.images, 'image')} of {facts.median_px} px, {facts.ranks} x "
        f"{facts.device}; what you type stays, docs/recipes.md has the reasons at length"
    )
    return config, (head, *_told(fitted))


def in_minutes(minutes: float, config: TrainConfig, stack: ExitStack) -> tuple[float, str]:
    """The epochs that fit into so many minutes here, and in words how that is known."""
    check_loggers(config.run.loggers)  # not after the seconds that this takes
    pace = measure_pace(config, stack.enter_context(join_ranks(config)))
    epochs = _rounded_down(pace.epochs(minutes))
    why = f"{counted(minutes, 'minute')} at {pace.images_per_s:,.0f} img/s, measured just now"
    return epochs, why


def _fit(
    facts: Facts,
    recipe: Mapping[str, Any] | None,  # the published one, where that is the base
    epochs: float,
    command: Mapping[str, Any],
    why: str = "",
) -> tuple[TrainConfig, Fitted]:
    if recipe is None:
        fitted = fit(facts, epochs, command, why)
        values = merge(fitted.values, command)
    else:
        fitted = fit_published(facts, recipe, epochs, command, why)
        values, _ = overlay(recipe, fitted.values)
        values, _ = overlay(values, command)
    config = resolve(values)
    section = values.get("method", {})
    if "terms" not in section:
        return config, fitted
    settings = method_settings(config.method.name, config.method.settings)
    terms, why = fit_terms(open_section("method", section).terms, settings, config.loop.epochs)
    if not why:
        return config, fitted
    chosen = {"method": {"terms": terms}}
    reasons = (*fitted.reasons, ("method.terms", terms, why))
    return resolve(merge(values, chosen)), Fitted(merge(fitted.values, chosen), reasons)


def _rounded_down(epochs: float) -> float:
    """To three digits, so that it can be typed again."""
    digits = 10 ** (2 - math.floor(math.log10(epochs)))
    return math.floor(epochs * digits) / digits


def _told(fitted: Fitted) -> list[str]:
    """A line for each reason, with the keys that have it."""
    by_reason: dict[str, list[str]] = {}
    for key, value, why in fitted.reasons:
        by_reason.setdefault(why, []).append(f"{key}={_shown(value)}")
    return [f"  {' '.join(keys)}: {why}" for why, keys in by_reason.items()]


def _shown(value: object) -> str:
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)
