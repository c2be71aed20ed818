"""Names of sets: what is a weight, what is a colon of the name, what a pattern stands for."""

from pathlib import Path

import pytest

from shards.errors import UsageError
from trainer.recipes.recipe import located, resolve
from trainer.settings.strict import parse_override
from trainer.settings.weighted_sets import WeightedSet, expand, split_weight, written


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with folders a, b, part-00 to part-02, x:2020, photos:0.3 and photos, a file."""
    for name in ("a", "b", "part-00", "part-01", "part-02", "x:2020", "photos:0.3", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "part-file").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "place", "weight"),
    [
        ("a", "a", None),
        ("a:0.3", "a", 0.3),
        ("a:1e-2", "a", 0.01),
        ("a:b", "a:b", None),
        ("demo:test", "demo:test", None),
        ("demo:test:2", "demo:test", 2),
        (r"C:\sets", r"C:\sets", None),
        (r"C:\sets:0.5", r"C:\sets", 0.5),
        ("s3://bucket/a", "s3://bucket/a", None),
        ("s3://bucket/a:0.3", "s3://bucket/a", 0.3),
        ("s3://bucket", "s3://bucket", None),
        ("https://host:8080", "https://host:8080", None),
        ("https://host:8080/a", "https://host:8080/a", None),
        ("https://host:8080/a:2", "https://host:8080/a", 2),
        ("https://host:8080:2", "https://host:8080", 2),
        (":2", ":2", None),
    ],
)
def test_a_number_behind_the_last_colon_is_a_weight(
    text: str, place: str, weight: float | None
) -> None:
    """But not a port, a drive, a split of the demo set."""
    assert split_weight(text) == (place, weight)


@pytest.mark.usefixtures("here")
def test_a_folder_that_is_there_is_itself() -> None:
    """Whatever its name ends with; written with its weight it is read back alike."""
    assert expand("x:2020") == (WeightedSet("x:2020"),)
    assert expand(["a", "x:2020:0.5"]) == (WeightedSet("a"), WeightedSet("x:2020", 0.5))
    sets = expand(["x:2020", "a:0.25", "photos:0.3:1", "photos/:0.3"])
    assert written(sets) == ("x:2020:1", "a:0.25", "photos:0.3:1", "photos/:0.3")
    assert expand(written(sets)) == sets


@pytest.mark.usefixtures("here")
def test_patterns_stand_for_folders() -> None:
    """Sorted, files left out, one weight for all; braces count, and need no folder to be there."""
    parts = [f"part-0{i}" for i in range(3)]
    assert [s.place for s in expand("part-*")] == parts
    assert expand("part-*:2") == tuple(WeightedSet(part, 2) for part in parts)
    assert [s.place for s in expand("part-{00..02}")] == parts
    assert [s.place for s in expand("part-{8..11}")] == [f"part-{i}" for i in range(8, 12)]
    assert expand("{a,b}:0.5") == (WeightedSet("a", 0.5), WeightedSet("b", 0.5))
    assert [s.place for s in expand("s3://x/{a,b}")] == ["s3://x/a", "s3://x/b"]
    assert [s.place for s in expand("{p,q}-{1..2}")] == ["p-1", "p-2", "q-1", "q-2"]
    assert [s.place for s in expand(["a", "{b}"])] == ["a", "{b}"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("a:0", "above 0 and at most 1000, got 0 for a"),
        ("a:-2", "got -2 for a"),
        ("a:nan", "got nan for a"),
        ("a:inf", "got inf for a"),
        (["a", "b:30%"], "number behind a colon, got '30%' in b:30%; write b:0.3"),
        (["a", "b:"], "got '' in b:"),
        ("photos:0.3", "may be photos with weight 0.3; write photos:0.3:1 .* photos/:0.3"),
        ("a:0.5", "a set's share beside others, got a:0.5 alone"),
        ([], "empty list"),
        ("nothing*", "stands for folders .* got nothing"),
        ("s3://x/a*", "an address is not searched"),
        ("p{1..3000}", "by at most 1,000"),
        ("p{5..1}", "goes up"),
        ("{a,b{1,2}}", "do not stand in braces"),
        ("{1..50}{1..50}", "at most 1,000 sets, got 2,500"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_meant_is_refused(given: str | list[str], reason: str) -> None:
    """In one line with the rule, the value and what to write."""
    with pytest.raises(UsageError, match=reason):
        expand(given)


def test_a_config_names_every_set_with_its_whole_path(here: Path) -> None:
    """Patterns are gone, addresses and the demo set stay; YAML gives it back; one set is a text."""
    values = parse_override("data.train=[part-*, b:0.3, 's3://x/y:2', demo]")
    config = located(resolve(values))
    names = [f"{here}/part-0{i}" for i in range(3)]
    assert config.data.train == (*names, f"{here}/b:0.3", "s3://x/y:2", "demo")
    assert config.loop.window_shards == 8  # since one of them is an address
    assert located(resolve({"data": {"train": "a"}})).data.train == f"{here}/a"
    assert located(resolve({"data": {"train": ["a"]}})).data.train == f"{here}/a"
    with pytest.raises(UsageError, match="holds no password"):
        resolve({"data": {"train": ["a", "s3://me:secret@x/y:0.5"]}})
    with pytest.raises(UsageError, match=r"data.train is a list, got \{'a': 1\}"):
        resolve({"data": {"train": {"a": 1}}})


@pytest.mark.parametrize("past", [[[3, 1, 1], [2, 1, 1]], [[-1, 1]], [[]], [[2.5, 1]]])
def test_a_past_that_cannot_be_is_refused(past: list[list[float]]) -> None:
    """Steps are whole and go on."""
    with pytest.raises(UsageError, match=r"data\.former_weights are"):
        resolve({"data": {"train": ["a", "b"], "former_weights": past}})
