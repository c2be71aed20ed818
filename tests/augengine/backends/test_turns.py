"""Vertical flips and quarter turns: drawn as the policy says, exact on pixels, off where unsaid."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity_cases import neutral_plan, photographs

from augengine.backends import turning
from augengine.backends.fused import FusedBackend
from augengine.backends.turning import turn_views
from augengine.draw import draw_plan
from augengine.plan import Plan
from augengine.policies import load_policy, override_policy, policy_names
from augengine.policy_file import group_values, read_group
from augengine.reference import render
from shards.errors import UsageError

# Of 16 images in three epochs, seed 7, before there were turns: made at commit 953cdb4; those of
# later policies when they came.
DIGESTS = {
    "byol": "f35bb738b984ff8a",
    "dino": "84b2116ae3ce7326",
    "exemplar": "be65893e7b9cdd65",
    "instdisc": "bdd25acc0736223f",
    "mocov1": "704b32e0eb3c89ef",
    "mocov2": "c638da23d0ef9a8b",
    "mocov3": "a751761e09bf609d",
    "ressl": "6a2004b85efe2c01",
    "simclr": "9052477a91061452",
    "simsiam": "c638da23d0ef9a8b",
    "swav": "c771bee62b7dcc1a",
    "vicreg": "7778acb24e46b075",
}
POSES = [(is_flipped, turns) for is_flipped in (False, True) for turns in range(4)]


def draw(num_images: int, **values: float) -> Plan:
    """The plan of SwAV's views with these fields changed."""
    policy = override_policy(load_policy("swav"), values)
    ids, sizes = np.arange(num_images), np.full((num_images, 2), 300)
    return draw_plan(policy, ids, ids % 3, sizes, 7)


@pytest.mark.parametrize("name", policy_names())
def test_the_plans_of_published_policies_are_what_they_were(name: str) -> None:
    """The same seed gives the digest that it gave before a policy could turn views."""
    ids, sizes = np.arange(16), np.array([[300, 400]] * 16)
    plan = draw_plan(load_policy(name), ids, ids % 3, sizes, 7)
    assert plan.digest().startswith(DIGESTS[name])


def test_turning_leaves_the_other_draws() -> None:
    """Both ops on: every other field is as with both off."""
    off, on = draw(50), draw(50, vflip=0.5, rotate90=1)
    assert on.digest() != off.digest()
    for name in ("window", "flip", "hue", "order", "gray", "sigma", "brightness"):
        np.testing.assert_array_equal(getattr(on, name), getattr(off, name))


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_the_draw_is_as_likely_as_stated(p: float) -> None:
    """Quarter turns 1, 2, 3 come with p / 4 each, 0 with 1 - 3 p / 4; vflip with p, apart."""
    plan = draw(4000, vflip=p, rotate90=p)  # 32,000 views: a deviation is at most 0.003
    shares = np.bincount(plan.quarter_turns.reshape(-1), minlength=4) / plan.quarter_turns.size
    np.testing.assert_allclose(shares, [1 - 0.75 * p, *[p / 4] * 3], atol=0.012)
    assert abs(plan.vflip.mean() - p) < 0.012
    both = (plan.vflip & (plan.quarter_turns == 1)).mean()
    assert abs(both - p * p / 4) < 0.012


@pytest.mark.parametrize(("is_flipped", "turns"), POSES)
def test_all_else_off_a_pose_is_torchs(is_flipped: bool, turns: int) -> None:
    """The fused backend and the reference equal torch.flip, then torch.rot90, to the letter."""
    images = photographs()[:2]
    tensors = [torch.from_numpy(image) for image in images]
    plain, backend = neutral_plan(images), FusedBackend("cpu")
    shape = plain.flip.shape
    plan = neutral_plan(
        images, vflip=np.full(shape, is_flipped), quarter_turns=np.full(shape, turns)
    )

    def posed(x: torch.Tensor) -> torch.Tensor:
        return torch.rot90(x.flip(-2) if is_flipped else x, turns, (-2, -1))

    for before, after in zip(backend(tensors, plain), backend(tensors, plan), strict=True):
        assert torch.equal(posed(before), after)
        assert after.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    for v in range(plan.num_views):
        before, after = (torch.from_numpy(render(images[1], p, 1, v)) for p in (plain, plan))
        assert torch.equal(posed(before), after)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_batch_of_all_poses_is_turned_view_by_view(dtype: torch.dtype) -> None:
    """Rows of one tensor in different poses do not touch each other."""
    plan = draw(40, vflip=0.5, rotate90=1)
    outs = [torch.rand(len(g), 40, 3, 5, 5).to(dtype) for g in plan.groups]
    before = [out.clone() for out in outs]
    turn_views(outs, plan)
    for views, old, new in zip(plan.groups, before, outs, strict=True):
        for k, v in enumerate(views):
            for b in range(40):
                x = old[k, b].flip(-2) if plan.vflip[b, v] else old[k, b]
                turned = torch.rot90(x, int(plan.quarter_turns[b, v]), (-2, -1))
                assert torch.equal(new[k, b], turned)


def test_every_backend_ends_by_turning() -> None:
    """The wiring of those that cannot run here: each file calls `turn_views` on what it made."""
    folder = Path(turning.__file__).parent
    for name in ("fused", "fused_cuda", "kornia_ops", "dali"):
        assert (folder / f"{name}.py").read_text().count("turn_views(") == 1, name


def test_a_turned_plan_is_kept(tmp_path: Path) -> None:
    """Saved as version 2 and read back equal; one that turns nothing stays version 1."""
    for plan, version in ((draw(5), 1), (draw(5, vflip=0.5, rotate90=1), 2)):
        plan.save(tmp_path / "plan.npz")
        assert np.load(tmp_path / "plan.npz")["version"] == version
        read = Plan.load(tmp_path / "plan.npz")
        assert read.digest() == plan.digest()
        np.testing.assert_array_equal(read.quarter_turns, plan.quarter_turns)
        np.testing.assert_array_equal(read.rows(slice(1, 3)).vflip, plan.vflip[1:3])


def test_a_turn_is_0_to_3() -> None:
    """A plan with a fifth way of lying is refused."""
    with pytest.raises(ValueError, match="quarter_turns are 0 to 3, got 4"):
        neutral_plan(photographs()[:1], quarter_turns=np.full((1, 5), 4))


def test_views_written_down_before_read_as_off() -> None:
    """A config without the keys has them off, and with them they come back."""
    group = override_policy(load_policy("swav"), {"vflip": 0.5, "rotate90": 0.25}).groups[0]
    values = group_values(group)
    assert read_group(values, {}) == group
    for view in values["views"]:
        del view["vflip"], view["rotate90"]
    assert {(view.vflip, view.rotate90) for view in read_group(values, {}).views} == {(0, 0)}


@pytest.mark.parametrize("name", ["vflip", "rotate90"])
def test_a_chance_over_one_is_refused(name: str) -> None:
    """In one line that names the key."""
    with pytest.raises(UsageError, match=f"{name} is a probability"):
        override_policy(load_policy("swav"), {name: 90})
