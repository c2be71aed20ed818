"""strict.build: what a mapping may say, and the one line that says what it may not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from shards.errors import UsageError
from trainer.settings.strict import build, flatten, merge, parse_override, to_mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    steps: int = 1
    fast: bool = False
    clip: float | None = None
    either: int | str = 0
    inner: Inner = field(default_factory=Inner)
    open: Mapping[str, Any] = field(default_factory=dict)


def test_builds_nested_dataclasses_and_goes_back() -> None:
    """`to_mapping` is the inverse of `build`, through nesting, tuples and mappings."""
    values = {
        "name": "x",
        "steps": 3,
        "fast": True,
        "clip": 1.0,
        "either": "two",
        "inner": {"rate": 0.5, "betas": [0.8, 0.9], "sizes": [1, 2, 3]},
        "open": {"any": 1},
    }
    built = build(Outer, values)
    assert built.inner.sizes == (1, 2, 3)
    assert to_mapping(built) == values
    assert build(Outer, to_mapping(built)) == built


def test_yaml_numbers_without_a_dot_are_numbers() -> None:
    """PyYAML reads 1e-3 as text; a float field takes it as the number everyone means."""
    override = parse_override("inner.rate=1e-3")
    assert override == {"inner": {"rate": "1e-3"}}
    assert build(Outer, {"name": "x", **override}).inner.rate == 0.001
    assert build(Outer, {"name": "x", "inner": {"rate": 2}}).inner.rate == 2.0


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"naem": "x"}, ["unknown key 'naem'", "did you mean name?", "allowed: name, steps"]),
        ({"name": "x", "inner": {"rat": 1}}, ["unknown key 'rat' in inner", "did you mean rate?"]),
        ({"name": "x", "zzz": 1}, ["unknown key 'zzz' at the top level; allowed:"]),
        ({}, ["name is required"]),
        ({"name": "x", "steps": 1.5}, ["steps is a whole number, got 1.5 (float); write steps=10"]),
        ({"name": "x", "steps": True}, ["steps is a whole number, got True (bool)"]),
        ({"name": "x", "steps": "ten"}, ["steps is a whole number, got 'ten'"]),
        ({"name": "x", "fast": 1}, ["fast is true or false, got 1 (int)"]),
        ({"name": None}, ["name is a text, got None (null)"]),
        ({"name": ["x"]}, ["name is a text, got ['x'] (list)"]),
        ({"name": "x", "inner": {"rate": "fast"}}, ["inner.rate is a finite number, got 'fast'"]),
        ({"name": "x", "inner": {"rate": "nan"}}, ["inner.rate is a finite number, got 'nan'"]),
        ({"name": "x", "inner": {"rate": None}}, ["inner.rate is a finite number, got None"]),
        (
            {"name": "x", "steps": 2**32 + 1},
            ["steps is at most 4,294,967,296 in size, got 4294967297"],
        ),
        ({"name": "x", "steps": -(2**60)}, ["steps is at most 4,294,967,296 in size, got -1152"]),
        (
            {"name": "x", "clip": 1e300},
            ["clip is at most 1,000,000,000 in size, got 1e+300; write"],
        ),
        ({"name": "x", "clip": -1e-13}, ["clip is 0 or at least 1e-12 in size, got -1e-13; write"]),
        ({"name": "x", "inner": 3}, ["inner is a mapping of keys, got 3 (int)", "inner.rate="]),
        ({"name": "x", "inner": {"betas": [1]}}, ["inner.betas has 2 entries, got [1] (list)"]),
        ({"name": "x", "inner": {"betas": 1}}, ["inner.betas is a list, got 1 (int)"]),
        ({"name": "x", "inner": {"sizes": [1, "b"]}}, ["inner.sizes[1] is a whole number"]),
        ({"name": "x", "clip": "no"}, ["clip is a finite number, got 'no'"]),
        ({"name": "x", "open": 1}, ["open is a mapping of keys"]),
        ([], ["a config is a mapping of keys, got []"]),
    ],
)
def test_says_rule_value_and_remedy(values: Any, parts: list[str]) -> None:
    """Each mistake is one line that names the place, what belongs there and what came."""
    with pytest.raises(UsageError) as error:
        build(Outer, values)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_merge_goes_level_by_level_and_changes_nothing() -> None:
    """Later mappings win key by key; neither input is touched."""
    base = {"a": {"x": 1, "y": 2}, "b": 1}
    update = {"a": {"y": 3}, "b": {"c": 4}}
    assert merge(base, update) == {"a": {"x": 1, "y": 3}, "b": {"c": 4}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 1}


def test_flatten_names_every_leaf() -> None:
    """Nested keys come out dotted, in order."""
    nested = {"a": {"x": 1, "y": {"z": [2]}}, "b": None}
    assert list(flatten(nested)) == [("a.x", 1), ("a.y.z", [2]), ("b", None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": 1}),
        ("a.b=[1, 2]", {"a": {"b": [1, 2]}}),
        ("a.b=null", {"a": {"b": None}}),
        ("a=x=y", {"a": "x=y"}),
        ("a='2'", {"a": "2"}),
    ],
)
def test_overrides_are_yaml(text: str, expected: dict[str, Any]) -> None:
    """key=value splits at the first `=`; dots nest; the value is YAML."""
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["epochs", "=1", "a..b=1", "a=[1", ".a=2"])
def test_a_bad_override_is_named(text: str) -> None:
    """What is not key=value is shown back."""
    with pytest.raises(UsageError, match="got"):
        parse_override(text)
