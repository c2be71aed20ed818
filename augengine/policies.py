"""Policies from YAML: the published ones by name, anyone's own by path, and changes on top.

    policy = load_policy("swav").with_views(parse_views("2+6"), parse_sizes("224+96"))
    policy = override_policy(policy, {"blur": 0.0})     # in every view of every group

A file holds `groups` (each with count, size_px and a list of views), `defaults` for all its views,
mean, std, `heavy` (heavy/heavy_policy.py) and source; policies/swav.yaml is a short example. The
fields of a view and their meaning are `policy.ViewPolicy`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from augengine.policy import Policy
from augengine.policy_file import (
    VIEW_FIELDS,
    at,
    check_keys,
    read_channels,
    read_heavy,
    read_policy,
    read_view_fields,
)
from augengine.yaml_text import YamlError, parse_yaml
from shards.errors import UsageError

FOLDER = Path(__file__).parent / "policies"
WHOLE_KEYS = ("mean", "std", "heavy")  # what a change says of a policy, not of its views
_SUFFIXES = (".yaml", ".yml")


def policy_names() -> tuple[str, ...]:
    """Names of the published policies, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def is_policy_file(name: str) -> bool:
    """Whether a policy's name is the path of one's own file."""
    return name.endswith(_SUFFIXES)


def load_policy(name_or_path: str | Path) -> Policy:
    """A published policy by name, or one's own by the path of its .yaml file.

    Raises UsageError, naming file, place, value and remedy, for whatever is wrong with it.
    """
    # A name is never looked up as a file: a folder called swav must not change what swav means.
    text = str(name_or_path)
    if text in policy_names():
        path = FOLDER / f"{text}.yaml"
    elif is_policy_file(text):
        path = Path(text)
    else:
        close = get_close_matches(text, policy_names(), n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        raise UsageError(
            f"unknown policy {text!r}{hint} policies: {', '.join(policy_names())}, "
            "or the path of a .yaml file"
        )
    with at(str(path)):
        return read_policy(_parse_yaml(path), path.stem)


def override_policy(policy: Policy, changes: Mapping[str, object]) -> Policy:
    """The policy with some fields changed in every view of every group, or another mean or std.

    `{"blur": 0.0, "scale": [0.2, 1.0], "std": [1, 1, 1]}`; keys and values as in a policy file, so
    too `heavy`, whose value replaces the policy's.
    Raises UsageError for an unknown key, a wrong type or a value out of range.
    """
    check_keys(changes, (*VIEW_FIELDS, *WHOLE_KEYS), "policy")
    for_views = read_view_fields({key: changes[key] for key in changes if key in VIEW_FIELDS})
    groups = tuple(
        replace(group, views=tuple(replace(view, **for_views) for view in group.views))
        for group in policy.groups
    )
    return replace(
        policy,
        groups=groups,
        mean=read_channels("mean", changes.get("mean", policy.mean)),
        std=read_channels("std", changes.get("std", policy.std)),
        heavy=read_heavy(changes["heavy"]) if "heavy" in changes else policy.heavy,
    )


def parse_views(text: str) -> tuple[int, ...]:
    """`"2+6"` -> (2, 6): views of each crop group; 0 leaves a group out, but not all of them."""
    counts = _parse_sum(text, "--views needs counts joined by +, such as 2+6 or 2")
    if not any(counts):
        raise UsageError(f"--views needs at least one view, got {text!r}; try 2+6")
    return counts


def parse_sizes(text: str) -> tuple[int, ...]:
    """`"224+96"` -> (224, 96): side in pixels of each crop group."""
    pair = re.search(r"(\d+) *[x×*,:] *(\d+)", text)  # noqa: RUF001
    if pair:
        sides = sorted(map(int, pair.groups()))
        raise UsageError(
            f"--sizes are sides of square views, one number a crop group, got {text!r}; give one "
            f"side, such as {sides[0]}, or 224+96 for two groups (crops of another shape: "
            "policy.ratio=[LOW,HIGH] is their width / height before they are resized to the square)"
        )
    sizes = _parse_sum(text, "--sizes needs sides in pixels joined by +, such as 224+96 or 224")
    if not all(sizes):
        raise UsageError(f"--sizes are at least 1 pixel, got {text!r}; try 224+96")
    return sizes


def _parse_sum(text: str, rule: str) -> tuple[int, ...]:
    # Not int() on the parts: it takes spaces, signs, underscores and other scripts' digits.
    if not re.fullmatch(r"[0-9]{1,9}(\+[0-9]{1,9})*", text):
        raise UsageError(f"{rule}, got {text!r}")
    return tuple(int(number) for number in text.split("+"))


def _parse_yaml(path: Path) -> object:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("no such policy file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"a policy file is readable UTF-8 text: {error}") from error
    except YamlError as error:
        raise UsageError(f"a policy file is valid YAML: {error}") from error
