"""Policies by name and from files: the published numbers, strict reading, overrides."""

from pathlib import Path

import pytest

from augengine.policies import (
    load_policy,
    override_policy,
    parse_sizes,
    parse_views,
    policy_names,
)
from augengine.policy import IMAGENET_STD, SOLARIZE_THRESHOLD
from shards.errors import UsageError

# name: global (scale, brightness, contrast, saturation, hue), bicubic, blur and solarize of the two
# global views, local scale and blur, taps, std; from the papers' code (see the files' heads).
PUBLISHED = {
    "swav": ((0.14, 1), 0.8, 0.8, 0.8, 0.2, False, (0.5, 0.5), (0, 0), (0.05, 0.14), 0.5, 13),
    "simclr": ((0.08, 1), 0.8, 0.8, 0.8, 0.2, True, (0.5, 0.5), (0, 0), (0.05, 0.14), 0.5, None),
    "mocov2": ((0.2, 1), 0.4, 0.4, 0.4, 0.1, False, (0.5, 0.5), (0, 0), (0.05, 0.14), 0.5, 13),
    "simsiam": ((0.2, 1), 0.4, 0.4, 0.4, 0.1, False, (0.5, 0.5), (0, 0), (0.05, 0.14), 0.5, 13),
    "byol": ((0.08, 1), 0.4, 0.4, 0.2, 0.1, True, (1, 0.1), (0, 0.2), (0.05, 0.14), 0.5, None),
    "mocov3": ((0.2, 1), 0.4, 0.4, 0.2, 0.1, False, (1, 0.1), (0, 0.2), (0.05, 0.14), 0.5, 13),
    "dino": ((0.4, 1), 0.4, 0.4, 0.2, 0.1, True, (1, 0.1), (0, 0.2), (0.05, 0.4), 0.5, 13),
    "vicreg": (
        (0.08, 1), 0.4, 0.4, 0.2, 0.1, True, (0.5, 0.5), (0.1, 0.1), (0.05, 0.14), 0.5, None,
    ),
}  # fmt: skip
PUBLISHED["instdisc"] = PUBLISHED["mocov1"] = (
    ((0.2, 1), 0.4, 0.4, 0.4, 0.4, False, (0, 0), (0, 0), (0.05, 0.14), 0, None)
)  # fmt: skip
PUBLISHED["exemplar"] = (
    ((0.5, 1), 0.4, 0.5, 0.4, 0.1, False, (0, 0), (0, 0), (0.2, 0.5), 0, None)
)  # fmt: skip
PUBLISHED["ressl"] = (
    ((0.2, 1), 0.4, 0.4, 0.4, 0.1, False, (0, 0.5), (0, 0), (0.172, 0.86), 0.5, 13)
)  # fmt: skip
# Policies whose first view is only cropped and flipped.
WEAK = ("ressl",)
# The probabilities of flip, jitter and gray, and the ratio of the crops' sides.
USUAL = (0.5, 0.8, 0.2, (3 / 4, 4 / 3))
UNUSUAL = {
    "instdisc": (0.5, 1.0, 0.2, (3 / 4, 4 / 3)),
    "mocov1": (0.5, 1.0, 0.2, (3 / 4, 4 / 3)),
    "exemplar": (0.0, 1.0, 0.0, (1, 1)),
}


@pytest.mark.parametrize("name", policy_names())
def test_published_numbers(name: str) -> None:
    """Every shipped policy has its paper's numbers, takes 2+N views and names its source."""
    policy = load_policy(name)
    assert policy.name == name
    assert policy.source
    assert policy.with_views((2, 5), (64, 32)).num_views == 7
    views = [view for _, _, view in policy.with_views((2, 1)).flat_views]
    assert [view.blur for view in views[:2]] == list(PUBLISHED[name][6])
    assert [view.solarize for view in views] == [*PUBLISHED[name][7], 0]
    assert (views[2].scale, views[2].blur) == PUBLISHED[name][8:10]
    if name in WEAK:
        weak = views.pop(0)
        assert (weak.scale, weak.flip, weak.ratio) == (PUBLISHED[name][0], 0.5, USUAL[3])
        assert (weak.jitter, weak.gray, weak.blur, weak.solarize) == (0, 0, 0, 0)
        assert views[0].scale == PUBLISHED[name][0]
    for view in views:
        colour = (view.brightness, view.contrast, view.saturation, view.hue)
        assert colour == PUBLISHED[name][1:5]
        assert (view.interpolation == "bicubic") is PUBLISHED[name][5]
        usual = (view.flip, view.jitter, view.gray, view.ratio)
        assert usual == UNUSUAL.get(name, USUAL)
        assert (view.sigma, view.kernel_px) == ((0.1, 2.0), PUBLISHED[name][10])
    if name not in WEAK:
        assert views[0].scale == views[1].scale == PUBLISHED[name][0]


def test_one_of_eight_views_is_weak() -> None:
    """ReSSL's policy: the teacher's view first, and all published sizes and scales."""
    policy = load_policy("ressl")
    strong = [view.jitter > 0 for view in policy.with_views((8,)).groups[0].views]
    assert strong == [False, *[True] * 7]
    assert [(g.count, g.size_px) for g in policy.groups] == [
        (2, 224), (1, 192), (1, 160), (1, 128), (1, 96),
    ]  # fmt: skip
    scales = [group.views[-1].scale for group in policy.groups]
    assert scales == [(0.2, 1), (0.172, 0.86), (0.143, 0.715), (0.114, 0.571), (0.086, 0.429)]


def test_normalisation_and_thresholds_of_each() -> None:
    """SwAV's std is .228, SimCLR does not normalise, BYOL solarizes from .5 and DINO as PIL."""
    assert load_policy("swav").std == (0.228, 0.224, 0.225)
    assert load_policy("mocov2").std == load_policy("byol").std == IMAGENET_STD
    assert (load_policy("simclr").mean, load_policy("simclr").std) == ((0, 0, 0), (1, 1, 1))
    assert load_policy("byol").groups[0].views[1].threshold == 0.5
    assert load_policy("dino").groups[0].views[1].threshold == SOLARIZE_THRESHOLD


def test_each_file_is_headed_by_its_source() -> None:
    """A policy file opens with a comment that names paper and code."""
    import augengine.policies

    for path in augengine.policies.FOLDER.glob("*.yaml"):
        head = path.read_text()
        assert head.startswith("# ")
        assert "# Paper: " in head
        assert "Code: github.com/" in head or "Code: none read" in head


GROUP = "groups: [{count: 2, size_px: 9, views: [{scale: [0.1, 1]}]}]"


def test_ones_own_file(tmp_path: Path) -> None:
    """A small file is a policy named after it; defaults hold unless a view says otherwise."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "defaults: {blur: 0.3, scale: [0.1, 1], kernel_px: 5}\n"
        "groups:\n- {count: 2, size_px: 8, views: [{}, {blur: 1, kernel_px: null}]}\n"
    )
    policy = load_policy(path)
    first, second = policy.groups[0].views
    assert (policy.name, first.blur, second.blur) == ("mine", 0.3, 1.0)
    assert (first.kernel_px, second.kernel_px, first.scale) == (5, None, (0.1, 1.0))
    assert policy.std == IMAGENET_STD


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "a policy is a mapping with keys source"), ("a: b: c", "valid YAML"),
     ("groups: []", "groups is a list with at least one item"),
     ("group: []", "unknown key 'group' in a policy, did you mean 'groups'"),
     ("std: [1, 1]\n" + GROUP, "std is three numbers"), ("mean: 0\n" + GROUP, "mean is three"),
     ("source: 3\n" + GROUP, "source is text"),
     ("defaults: {sigmaa: 1}\n" + GROUP, "defaults: unknown key 'sigmaa'.*did you mean 'sigma'"),
     (GROUP.replace("scale", "scle"), r"groups\[0\]: views\[0\]: unknown key 'scle'.*'scale'"),
     (GROUP.replace("[0.1, 1]", "[1, 2]"), r"views\[0\]: crop scale must satisfy"),
     (GROUP.replace("[0.1, 1]", "0.1"), r"scale is a range \[low, high\], got 0.1"),
     (GROUP.replace("scale: [0.1, 1]", "blur: 1"), "a view needs scale"),
     (GROUP.replace("scale:", "blur: yes, scale:"), "blur is a number, got True"),
     (GROUP.replace("scale:", "blur: often, scale:"), "blur is a number, got 'often'"),
     (GROUP.replace("scale:", "hue: .inf, scale:"), "hue is a number, got inf"),
     (GROUP.replace("scale:", "kernel_px: 3.0, scale:"), "kernel_px is a whole number"),
     (GROUP.replace("scale:", "interpolation: 1, scale:"), "interpolation is text"),
     (GROUP.replace("size_px: 9, ", ""), r"groups\[0\]: a group needs .*got none for size_px"),
     (GROUP.replace("2", "two"), "count is a whole number"), (GROUP.replace("2", "0"), "1 to 64")],
)  # fmt: skip
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    """Whatever is wrong in a file: one error with file, place, value and what is allowed."""
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"(?s)wrong.yaml: .*{message}"):
        load_policy(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("swaw", "unknown policy 'swaw', did you mean 'swav'.*policies: byol, dino"),
     ("", "unknown policy"), ("nowhere.yaml", "nowhere.yaml: no such policy file"),
     ("/", "unknown policy")],
)  # fmt: skip
def test_an_unknown_policy_is_named(name: str, message: str) -> None:
    """A name that is none gives the nearest one and the list."""
    with pytest.raises(UsageError, match=message):
        load_policy(name)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder or bytes that are no text are usage errors too."""
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("folder", "bytes"):
        with pytest.raises(UsageError, match=f"{name}.yaml: a policy file is"):
            load_policy(tmp_path / f"{name}.yaml")


def test_overrides_reach_every_view() -> None:
    """A change applies to all views of all groups; mean and std are the policy's."""
    policy = override_policy(load_policy("byol"), {"blur": 0, "scale": [0.3, 1], "std": [1, 1, 1]})
    views = [view for _, _, view in policy.flat_views]
    assert {(view.blur, view.scale) for view in views} == {(0.0, (0.3, 1.0))}
    assert views[1].solarize == 0.2
    assert policy.std == (1.0, 1.0, 1.0)
    assert override_policy(policy, {}) == policy


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"jiter": 1}, "unknown key 'jiter' in policy, did you mean 'jitter'"),
     ({"jitter": 1.2}, "jitter is a probability in .0, 1., got 1.2"),
     ({"jitter": "1"}, "jitter is a number, got '1'"), ({"mean": 1}, "mean is three numbers")],
)  # fmt: skip
def test_wrong_overrides_are_named(changes: dict, message: str) -> None:
    """An unknown key, a wrong type or a value out of range is refused as in a file."""
    with pytest.raises(UsageError, match=message):
        override_policy(load_policy("swav"), changes)


def test_views_and_sizes_are_parsed() -> None:
    """Counts and sizes are numbers joined by +; a group may be left out with 0."""
    assert parse_views("2+6") == (2, 6)
    assert parse_views("2") == (2,)
    assert parse_views("0+6") == (0, 6)
    assert parse_sizes("224+96") == (224, 96)


@pytest.mark.parametrize("text", ["2x6", "-1+2", "", "2+", "+2", "2 6", "two", "2.0", "٢", "0+0"])
def test_views_that_are_no_counts_are_refused(text: str) -> None:
    """Anything else is a usage error with an example."""
    with pytest.raises(UsageError, match=r"--views needs .*2\+6"):
        parse_views(text)


@pytest.mark.parametrize("text", ["224x96", "0", "224+0", "-224", ""])
def test_sizes_that_are_no_sizes_are_refused(text: str) -> None:
    """So are sizes that are none, with an example."""
    with pytest.raises(UsageError, match=r"--sizes .*224\+96"):
        parse_sizes(text)


@pytest.mark.parametrize("text", ["64x48", "224+96x64", "64,48", "(64, 48)", "64:48"])
def test_sides_that_differ_are_refused_with_a_way_out(text: str) -> None:
    """Views are square: a pair of sides gets one line that says what to give instead."""
    with pytest.raises(UsageError, match=r"sides of square views.* give one side, such as .*ratio"):
        parse_sizes(text)
