"""Crop rules against the published algorithms, written out one image at a time."""

import math
import random
from pathlib import Path

import numpy as np
import pytest

from augengine.draw import NUM_TRIES, Field, draw_plan
from augengine.policies import load_policy, override_policy
from augengine.policy import CropGroup, Policy, ViewPolicy
from augengine.rng import uniforms
from shards.errors import UsageError

DOC = Path(__file__).parents[2] / "docs" / "plan.md"
NUM_DRAWS = 60_000
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Mean and quantiles of the area share of crops of 500 x 375 px at scale 0.08 to 1.
AREAS = {
    "torchvision": (0.433, 0.114, 0.252, 0.421, 0.593, 0.812),
    "byol": (0.519, 0.127, 0.311, 0.541, 0.724, 0.872),
    "simclr": (0.388, 0.118, 0.206, 0.353, 0.539, 0.775),
}


def one_view(**changes: object) -> Policy:
    view = ViewPolicy(**{"scale": (0.08, 1.0), **changes})  # type: ignore[arg-type]
    return Policy("tested", (CropGroup(1, 32, (view,)),))


def windows(crop: str, sizes: np.ndarray, seed: int = 5, **changes: object) -> np.ndarray:
    """[N, 4] of one view of images of these sizes."""
    count = len(sizes)
    plan = draw_plan(one_view(crop=crop, **changes), np.arange(count), np.zeros(count), sizes, seed)
    return plan.window[:, 0]


def area_shares(crop: str) -> np.ndarray:
    window = windows(crop, np.tile([375, 500], (NUM_DRAWS, 1))).astype(float)
    return window[:, 2] * window[:, 3] / (375 * 500)


def byol_by_hand(height: int, width: int, u: np.ndarray, place: np.ndarray) -> list[int]:
    """BYOL's `_decode_and_random_crop`: one draw, clamped."""
    area = (0.08 + u[0] * 0.92) * height * width
    ratio = math.exp(math.log(3 / 4) + u[1] * (math.log(4 / 3) - math.log(3 / 4)))
    w = max(1, min(round(math.sqrt(area * ratio)), width))
    h = max(1, min(round(math.sqrt(area / ratio)), height))
    return [int(place[0] * (height - h + 1)), int(place[1] * (width - w + 1)), h, w]


def tensorflow_try(height: int, width: int, u_ratio: float, u_height: float) -> list[int] | None:
    """TensorFlow's `GenerateRandomCrop` and SimCLR's overlap of 0.1: height and width, or None."""
    ratio = 3 / 4 + u_ratio * (4 / 3 - 3 / 4)
    least, most = 0.08 * width * height, 1.0 * width * height
    h, max_h = round(math.sqrt(least / ratio)), round(math.sqrt(most / ratio))
    if round(max_h * ratio) > width:
        max_h = int((width + 0.5 - 0.0000001) / ratio)
        if round(max_h * ratio) > width:
            max_h -= 1
    max_h = min(max_h, height)
    h = min(h, max_h)
    if h < max_h:
        h += int(u_height * (max_h - h + 1))
    w = round(h * ratio)
    if w * h < least:
        h += 1
        w = round(h * ratio)
    if w * h > most:
        h -= 1
        w = round(h * ratio)
    if w * h < least or w * h > most or w > width or h > height or w <= 0 or h <= 0:
        return None
    return [h, w] if w * h / (width * height) >= 0.1 else None


def simclr_by_hand(height: int, width: int, tries: np.ndarray, place: np.ndarray) -> list[int]:
    """Up to a hundred tries, then the whole image; the last place is never drawn."""
    for u_ratio, u_height in tries.reshape(-1, 2):
        sides = tensorflow_try(height, width, u_ratio, u_height)
        if sides is not None:
            h, w = sides
            return [int(place[0] * (height - h)), int(place[1] * (width - w)), h, w]
    return [0, 0, height, width]


def odd_sizes() -> np.ndarray:
    """Usual, tiny and thin images; of some thin ones few crops cover a tenth, of others none."""
    sizes = np.random.default_rng(2).integers(1, 500, (2000, 2))
    sizes[:400] = np.random.default_rng(3).integers(1, 8, (400, 2))
    sizes[400:600, 0], sizes[600:800, 1] = 1, 1
    sizes[800:1000] = [100, 1250]
    return sizes


@pytest.mark.parametrize(("crop", "num_tries"), [("byol", 1), ("simclr", 100)])
def test_windows_are_the_published_algorithms(crop: str, num_tries: int) -> None:
    """On any image every window is the plain algorithm's, on the same numbers."""
    sizes = odd_sizes()
    ids, epochs, key = np.arange(len(sizes)), np.zeros(len(sizes), np.int64), np.array([0])
    tries = uniforms(5, epochs, ids, key, Field.WINDOW, 2 * num_tries)[:, 0]
    places = uniforms(5, epochs, ids, key, Field.POSITION, 2)[:, 0]
    by_hand = {"byol": byol_by_hand, "simclr": simclr_by_hand}[crop]
    found = windows(crop, sizes).tolist()
    for size, window, u, place in zip(sizes.tolist(), found, tries, places, strict=True):
        assert window == by_hand(*size, u, place), size


def test_a_narrow_range_of_areas_is_met() -> None:
    """Half of the image and no other share: to a row and a column, and never the whole image."""
    sizes = np.random.default_rng(1).integers(20, 500, (500, 2))
    sizes[:, 1] = sizes[:, 0]
    for crop in AREAS:
        _, _, height, width = windows(crop, sizes, scale=(0.5, 0.5), ratio=(1, 1)).T
        assert (np.abs(height - np.sqrt(0.5) * sizes[:, 0]) < 1.5).all()
        assert (height == width).all()


def test_some_images_need_more_tries_than_are_drawn_for_all() -> None:
    """Of images 12.5 times as wide as high, some fit late and some never: both paths are walked."""
    sizes = np.tile([100, 1250], (2000, 1))
    tries = uniforms(5, np.zeros(2000), np.arange(2000), np.array([0]), Field.WINDOW, 200)[:, 0]
    first = [
        next((i for i, u in enumerate(row.reshape(-1, 2)) if tensorflow_try(100, 1250, *u)), 100)
        for row in tries
    ]
    assert sum(NUM_TRIES <= i < 100 for i in first) > 20
    whole = (windows("simclr", sizes) == [0, 0, 100, 1250]).all(axis=1)
    assert whole.tolist() == [i == 100 for i in first]


@pytest.mark.parametrize("crop", AREAS)
def test_areas_have_the_published_distribution(crop: str) -> None:
    """Mean and quantiles of the area share: ours, and those that the page shows."""
    shares = area_shares(crop)
    found = (shares.mean(), *np.quantile(shares, QUANTILES))
    np.testing.assert_allclose(found, AREAS[crop], atol=0.006)
    row = f"| `{crop}` | " + " | ".join(f"{x:.3f}" for x in AREAS[crop]) + " |"
    assert row in DOC.read_text()


@pytest.mark.parametrize("crop", ["byol", "simclr"])
def test_the_plain_algorithms_with_other_numbers_agree(crop: str) -> None:
    """The plain algorithm on Python's own numbers has the same quantiles: none is ours alone."""
    generator = random.Random(3)
    areas = []
    for _ in range(20_000):
        u = np.array([generator.random() for _ in range(2 if crop == "byol" else 40)])
        by_hand = {"byol": byol_by_hand, "simclr": simclr_by_hand}[crop]
        _, _, h, w = by_hand(375, 500, u, np.zeros(2))
        areas.append(h * w / (375 * 500))
    found = (np.mean(areas), *np.quantile(areas, QUANTILES))
    np.testing.assert_allclose(found, AREAS[crop], atol=0.012)


def test_rules_stand_side_by_side() -> None:
    """Views of one image by three rules: each view's window is what its rule gives alone."""
    views = tuple(ViewPolicy(scale=(0.08, 1), crop=crop) for crop in AREAS)
    mixed = Policy("mixed", (CropGroup(6, 32, views),))
    args = (np.arange(50), np.zeros(50), np.tile([90, 700], (50, 1)), 1)
    plan = draw_plan(mixed, *args)
    for v, crop in enumerate([*AREAS, *AREAS]):
        alone = draw_plan(override_policy(mixed, {"crop": crop}), *args)
        np.testing.assert_array_equal(plan.window[:, v], alone.window[:, v])
    assert not (plan.window[:, 0] == plan.window[:, 1]).all()


def test_a_rule_changes_windows_alone() -> None:
    """Flips, colours and all other fields are those of torchvision's rule."""
    args = (np.arange(64), np.zeros(64), np.tile([375, 500], (64, 1)), 0)
    ours, former = (
        draw_plan(override_policy(load_policy("byol"), {"crop": crop}), *args)
        for crop in ("byol", "torchvision")
    )
    for name in ("flip", "brightness", "hue", "order", "gray", "sigma", "solarize"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(former, name))
    assert (ours.window != former.window).any()


def test_torchvisions_windows_are_those_of_former_releases() -> None:
    """Digests of plans from before there was a choice: runs that go on see the same views."""
    sizes = odd_sizes()
    for name, digest in FORMER.items():
        policy = override_policy(load_policy(name), {"crop": "torchvision"})
        plan = draw_plan(policy, np.arange(2000), np.zeros(2000), sizes, seed=3)
        assert plan.digest()[:16] == digest, name


def test_published_policies_name_their_rule() -> None:
    """BYOL's and SimCLR's global views have their codes' rules; local views are SwAV's."""
    for name in ("byol", "simclr"):
        crops = [[view.crop for view in group.views] for group in load_policy(name).groups]
        assert set(crops[0]) == {name}
        assert set(crops[1]) == {"torchvision"}
    for name in ("swav", "dino", "mocov3", "vicreg"):
        assert {view.crop for _, _, view in load_policy(name).flat_views} == {"torchvision"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": "bylo"}, "crop is one of torchvision, byol, simclr, got 'bylo'"),
        ({"crop": 1}, "crop is text, got 1"),
        (
            {"crop": "simclr", "scale": [0.05, 0.09]},
            r"scale reaches 0.1, which crop simclr.*\(0.05, 0.09\)",
        ),
    ],
)
def test_wrong_rules_are_named(changes: dict, message: str) -> None:
    """One line with rule and value."""
    with pytest.raises(UsageError, match=message) as error:
        override_policy(load_policy("swav"), changes)
    assert "\n" not in str(error.value)


# Made at commit 98cf9b7 from the policies as they were.
FORMER = {"byol": "99ca2006ceba9129", "simclr": "d82eb39fa428b44f", "swav": "6593312477b8f6db"}
