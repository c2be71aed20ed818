"""YAML is small plain values, or one kind of error, in bounded time."""

import pytest
import yaml

from augengine.policies import FOLDER, load_policy
from augengine.yaml_text import YamlError, parse_yaml
from shards.errors import UsageError
from trainer.recipes.recipe import RECIPES, read_recipe, resolve
from trainer.settings.strict import flatten, parse_override

LEVELS = 9


def bomb(value: str) -> str:
    """Each level stands nine times for the one before."""
    lines = ["b0: &a0 {a: b}"]
    for level in range(1, LEVELS):
        lines.append(f"b{level}: &a{level} " + value.format(", ".join([f"*a{level - 1}"] * 9)))
    return "\n".join(lines)


WRONG = {
    "list bomb": bomb("[{}]"),
    "merge bomb": bomb("{{<<: [{}]}}"),
    "itself": "a: &a [*a]",
    "itself in a merge": "a: &a\n  <<: *a",
    "nothing before it": "a: *b",
    "deep": "[" * 3_000 + "]" * 3_000,
    "long": "x" * 200_000,
    "large number": "a: 0x" + "f" * 300,
    "digits": "9" * 5_000,
    "no date": "2001-13-45",
    "no truth": "!!bool maybe",
    "no number": "!!int abc",
    "no time": "!!timestamp never",
    "a program": "!!python/object/apply:os.system [id]",
    "torn": "{a: [b",
    "a key twice": "name: swav\nviews: 2\nname: byol",
    "a key twice, inside": "optim: {base_lr: 0.1, base_lr: 0.2}",
}


@pytest.mark.parametrize("kind", WRONG)
def test_it_is_refused_wherever_it_stands(kind: str, tmp_path) -> None:
    """As text, as a policy, as a recipe and as an override: our own error, at once."""
    with pytest.raises(YamlError):
        parse_yaml(WRONG[kind])
    path = tmp_path / "x.yaml"
    path.write_text(WRONG[kind])
    with pytest.raises(UsageError, match=r"x\.yaml"):
        load_policy(path)
    with pytest.raises(UsageError, match=r"x\.yaml"):
        read_recipe(str(path))
    with pytest.raises(UsageError, match="must be YAML"):
        parse_override(f"data.train={WRONG[kind]}")


def test_what_ships_is_read_as_before() -> None:
    """Every policy and recipe means what PyYAML's safe loader says."""
    paths = [*FOLDER.glob("*.yaml"), *RECIPES.glob("*.yaml")]
    assert len(paths) > 30
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert parse_yaml(text) == yaml.safe_load(text)


def test_aliases_are_read_where_they_stay_small() -> None:
    """Anchors and merges of a reasonable file work."""
    text = "a: &a {x: 1, y: [2, 3]}\nb: *a\nc:\n  <<: *a\n  x: 4\n"
    assert parse_yaml(text)["c"] == {"x": 4, "y": [2, 3]}  # type: ignore[index]
    assert parse_yaml("") is None


@pytest.mark.parametrize("name", ["true", "[swav]", "{a: 1}", "3.5"])
def test_a_method_that_is_no_text_is_refused(name: str) -> None:
    """The name is checked before it is looked up."""
    with pytest.raises(UsageError, match="method"):
        resolve({"method": {"name": parse_yaml(name)}})


def test_keys_that_are_numbers_have_names_too() -> None:
    """A mapping with any keys can be compared with another run's."""
    assert dict(flatten({"a": {1: 2, None: 3}})) == {"a.1": 2, "a.None": 3}


def test_a_key_that_stands_twice_is_named_with_its_lines() -> None:
    """The last one would win, and nobody would know; the same key in two places is two keys."""
    with pytest.raises(YamlError, match=r"one value, got views twice \(line 2 and 4\)"):
        parse_yaml("name: swav\nviews: 2\ngroups: []\n'views': 2+6")
    with pytest.raises(YamlError, match=r"got lr twice \(line 1\)"):
        parse_yaml("{lr: 1, lr: 2}")
    assert parse_yaml("a: {b: 1}\nc: {b: 2}") == {"a": {"b": 1}, "c": {"b": 2}}
    merged = "a: &a {b: 1, c: 2}\nd: &d {<<: *a, b: 3}\ne: {<<: *d, c: 4}"
    assert parse_yaml(merged)["e"] == {"b": 3, "c": 4}
