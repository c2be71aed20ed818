"""The policy keys: groups keep their places, everything is written out, one line when wrong."""

import pytest

from augengine.policies import policy_names
from shards.errors import UsageError
from trainer.settings.policy_config import PolicyConfig

TWO = ({"blur": 0.0, "scale": [0.4, 1.0]}, {"blur": 1.0, "scale": [0.05, 0.14]})
THREE = tuple(
    {"count": 2, "size_px": size, "views": [{"scale": [0.2, 1.0], "blur": blur}]}
    for size, blur in ((64, 0.1), (48, 0.2), (32, 0.3))
)


def shown(config: PolicyConfig) -> list[tuple[int, int, float]]:
    """Count, side and blur of the groups that are left."""
    return [(g.count, g.size_px, g.views[0].blur) for g in config.load().groups]


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        ({"views": "0+6", "groups": TWO}, [(6, 96, 1.0)]),
        ({"views": "2", "groups": TWO}, [(2, 224, 0.0)]),
        ({"views": "0+6", "sizes": "200+80"}, [(6, 80, 0.5)]),
        ({"views": "2", "sizes": "200+80"}, [(2, 200, 0.5)]),
        ({"views": "2", "sizes": "200"}, [(2, 200, 0.5)]),
        ({"groups": THREE, "views": "2+0+6", "sizes": "60+40+20"}, [(2, 60, 0.1), (6, 20, 0.3)]),
        ({"groups": THREE, "views": "0+0+6"}, [(6, 32, 0.3)]),
        ({"groups": ({**THREE[0], "count": 0}, THREE[1])}, [(2, 48, 0.2)]),
    ],
)
def test_a_group_that_is_left_out_keeps_its_place(keys: dict, groups: list) -> None:
    """What is said of the second group holds for the second one, whatever is before it."""
    assert shown(PolicyConfig(**keys)) == groups


@pytest.mark.parametrize("name", policy_names())
def test_written_out_it_is_the_same(name: str) -> None:
    """Every field of every view is there, a second time changes nothing, and no file is read."""
    config = PolicyConfig(name=name, views="2", changes={"hue": 0.25, "std": [1.0, 1.0, 1.0]})
    whole = config.written_out()
    assert whole.written_out() == whole
    assert whole.is_whole
    elsewhere = PolicyConfig(name="gone.yaml", groups=whole.groups, changes=whole.changes)
    assert elsewhere.load().groups == config.load().groups
    assert elsewhere.load().std == (1.0, 1.0, 1.0)


def test_keys_go_over_what_is_written_out() -> None:
    """Counts, sizes, changes for all and of one group; a group that was left out can come back."""
    whole = PolicyConfig(views="0+6").written_out()
    groups = ({**whole.groups[0], "hue": 0.5}, whole.groups[1])
    config = PolicyConfig(
        groups=groups, changes={**whole.changes, "blur": 0.0}, views="1+2", sizes="64+32"
    )
    assert shown(config) == [(1, 64, 0.0), (2, 32, 0.0)]
    assert [group.views[0].hue for group in config.load().groups] == [0.5, 0.2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"views": "2+6+1"}, r"describes 2 crop groups, got --views 2\+6\+1"),
        ({"sizes": "64+32+16"}, r"describes 2 crop groups, got --sizes 64\+32\+16"),
        ({"sizes": "64"}, r"one size per count of --views, got 64 for 2\+6"),
        ({"views": "0+6", "sizes": "64"}, r"one size per count of --views, got 64 for 0\+6"),
        ({"groups": ({}, {}, {"blur": 0.0})}, "2 crop groups of policy swav, got 3 entries"),
        ({"groups": ({"mean": [0, 0, 0]},)}, r"policy.groups\[0\]: unknown key 'mean'"),
        ({"groups": ({"count": 2},)}, r"policy.groups\[0\]: a group needs .* none for size_px"),
        ({"groups": (THREE[0], {"blur": 0.0})}, r"policy.groups\[1\]: a group needs"),
        ({"groups": ({**THREE[0], "count": 0},)}, "--views needs at least one view"),
        ({"groups": ({**THREE[0], "count": False},)}, "count is a whole number, got False"),
    ],
)
def test_a_wrong_key_is_one_line(keys: dict, message: str) -> None:
    """Which group, which key, how many there are."""
    with pytest.raises(UsageError, match=message):
        PolicyConfig(**keys).load()
