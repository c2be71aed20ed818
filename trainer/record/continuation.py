"""The rules of a continued run: what may differ from before, and what is refused in one line.

What is learned is decided by the config, the images and the code. Of the config, the keys below may
change; where a file lies may change too, since what was read from it is in the checkpoint; and the
length may change (`describe_length`). Anything else would make it another run.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.build import Parts
from trainer.config import TrainConfig
from trainer.methods.method_table import METHODS, settings_class
from trainer.recipes.former import as_it_was
from trainer.recipes.recipe import as_mapping, open_section, resolve
from trainer.settings.strict import flatten, path_fields
from trainer.terms.term_table import TERMS, term_names

# None of it decides what is learned, but that who goes on with fewer GPUs may have to accumulate.
# (The images are compared by their index's fingerprint.)
FREE_ON_RESUME = (
    "run.",
    "eval.",
    "data.",
    "loop.accumulate",
    "loop.checkpoint_activations",
    "loop.compile",
    "loop.epochs",
    "loop.repeatable",
)
_MAX_SHOWN = 8  # changes in one line


def changed_on_resume(before: Mapping[str, Any], now: TrainConfig) -> list[str]:
    """The keys that differ and may not, as "key: old -> new"."""
    old, new = _decisive(as_it_was(before), now), _decisive(as_mapping(now), now)
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    lines = [f"{key}: {old.get(key)} -> {new.get(key)}" for key in changed]
    names = before.get("policy"), now.policy.name
    label = names[0].get("name") if isinstance(names[0], Mapping) else None
    if label != now.policy.name and any(key.startswith("policy.") for key in changed):
        lines.insert(0, f"policy.name: {label} -> {now.policy.name}")
    return lines


def refuse_another_run(parts: Parts, state: Mapping[str, Any]) -> None:
    """UsageError when a checkpoint is of another config, other images or another teacher."""
    changed = changed_on_resume(state["config"], parts.config)
    if changed:
        more = len(changed) - _MAX_SHOWN
        shown = "; ".join(changed[:_MAX_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise UsageError(
            f"a run continues with the config it began with, got {shown}; leave the "
            f"change out, or start another run with another --out"
        )
    if state["data_fingerprint"] != parts.index.fingerprint:
        raise UsageError(
            f"a run continues on the images it began with, got others in {parts.index.directory} "
            f"(fingerprint {parts.index.fingerprint[:12]}, not {state['data_fingerprint'][:12]}); "
            "give the former --data, several sets in their former order"
        )
    if state["step"] > parts.timeline.total_steps:
        # Rounded up, or what is advised would end a step early.
        done = math.ceil(1e4 * state["step"] / parts.timeline.steps_per_epoch) / 1e4
        raise UsageError(
            f"a run ends where it is or later, got --epochs {parts.config.loop.epochs:g} at step "
            f"{state['step']:,}; give --epochs {done:g} or more"
        )
    for name in parts.method.given:
        _refuse_other_weights(name, parts.method.get_submodule(name).state_dict(), state["method"])


def describe_length(before: Mapping[str, Any], parts: Parts, step: int) -> str | None:
    """A sentence about another length from here on; None when it is the former one."""
    loop = before.get("loop")
    old, new = loop.get("epochs") if isinstance(loop, Mapping) else None, parts.config.loop.epochs
    if old == new:
        return None
    return (
        f"the run now has {counted(new, 'epoch')}, {counted(parts.timeline.total_steps, 'step')}, "
        f"in place of {old}: from step {step:,} on every schedule is the one of "
        f"{counted(new, 'epoch')}, as if it had been so from the start (a rate that had fallen "
        "rises again)"
    )


def _decisive(config: Mapping[str, Any], now: TrainConfig) -> dict[str, Any]:
    """The keys that must stay: leaves by dotted name, the policy as the views that it makes."""
    method = config.get("method")
    name = method.get("name") if isinstance(method, Mapping) else None
    if name not in (*METHODS, now.method.name):  # of another's code nothing is imported
        return _without_free(flatten(config))
    written = method.get("terms", ()) if isinstance(method, Mapping) else ()
    if not set(term_names(written)) <= {*TERMS, *term_names(now.method.terms)}:
        return _without_free(flatten(config))
    try:
        # A run of a former release has fewer keys: they have their defaults.
        config = as_mapping(resolve(config))
        policy = asdict(open_section("policy", config["policy"]).load())
        paths = path_fields(settings_class(config["method"]["name"]))
    except UsageError:  # a policy file that is gone, a key that is no more: as it stands
        return _without_free(flatten(config))
    del policy["name"], policy["source"]
    method = config["method"]
    # The teacher's weights are in the checkpoint; whether there is a file is what counts.
    method = {key: _as_files(v) if key in paths else v for key, v in method.items()}
    return _without_free(flatten({**config, "policy": dict(_leaves(policy)), "method": method}))


def _as_files(value: Any) -> Any:
    return ["a file"] * len(value) if isinstance(value, list) else value and "a file"


def _without_free(leaves: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in leaves if not key.startswith(FREE_ON_RESUME)}


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """("groups[0].views[0].blur", 0.5), ...: ranges and colours stay whole."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{where}.{key}" if where else key)
    elif isinstance(value, tuple) and value and isinstance(value[0], Mapping):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{where}[{number}]")
    else:
        yield where, value


def _refuse_other_weights(
    name: str, given: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]
) -> None:
    for key, value in given.items():
        old = saved.get(f"{name}.{key}")
        if old is None or old.shape != value.shape or not torch.equal(old, value.cpu()):
            raise UsageError(
                f"a run continues with the {name} it began with, got another file's weights "
                f"({name}.{key} differs); give the former file as method.{name}"
            )
