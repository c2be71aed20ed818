"""A set that breaks: exactly the bad samples are named, epochs are full, budgets stop a run."""

import importlib
from pathlib import Path

import pytest

from augengine.decoders.create_decoder import create_decoder


@pytest.fixture
def corruption():
    """benchmarks/soak/corruption.py as a module."""
    return importlib.import_module("benchmarks.soak.corruption")


DAMAGES = ["10 % of the images are corrupt", "a tar loses its tail"]
DAMAGES += ["members are swapped", "a tar is deleted"]


@pytest.mark.parametrize("name", DAMAGES)
def test_the_bad_ones_are_named_and_no_others(corruption, name: str) -> None:
    """200 images: counts, names, a full epoch, and a stop where no budget allows it."""
    found = corruption.try_damage(name, 200, "pillow", "kornia")
    assert found["right"], found
    assert found["bad"] >= 5


@pytest.mark.slow
def test_training_ends_with_the_names(corruption) -> None:
    """With a tenth of the images corrupt and a budget for it a run ends; without, it stops."""
    found = corruption.try_damage(DAMAGES[0], 200, "pillow", "kornia", trains=True)
    assert found["right"], found
    assert found["steps"]["an epoch"]["counted"] >= found["bad"] == 20


def test_a_name_too_many_or_too_few_is_wrong(corruption, monkeypatch) -> None:
    """The verdict is not always yes: an id more or less, and it is no."""
    damage = importlib.import_module("benchmarks.soak.damage")
    for change in (lambda bad: bad[1:], lambda bad: [0, *bad]):
        wrong = {"x": lambda index, change=change: change(damage.cut_tail(index))}
        monkeypatch.setattr(corruption, "DAMAGES", wrong)
        assert not corruption.try_damage("x", 200, "pillow", "kornia")["right"]


def test_a_tar_that_is_open_stays_readable_when_it_is_deleted(tmp_path: Path) -> None:
    """Mid-epoch: what a loader has open goes on to be read; another loader names what is gone."""
    small, damage = (
        importlib.import_module("benchmarks.soak.corruption"),
        importlib.import_module("benchmarks.soak.damage"),
    )
    index = damage.write_set(tmp_path / "shards", 100)
    bad, named = [], []
    policy = small.load_policy("simsiam").with_views((1,), (8,))
    parts = {
        "decoder": create_decoder("pillow", small.CPU, 1),
        "backend": small.create_backend("kornia", small.CPU),
        "bad_budget": 1.0,
        "on_warning": named.append,
        "num_workers": 1,
        "prefetch": 0,
    }
    with small.ViewLoader(index, policy, batch_size=50, seed=0, **parts) as loader:
        next(loader)  # every tar is open now
        bad = damage.delete_shard(index)
        next(loader)
        assert named == []
    with small.ViewLoader(index, policy, batch_size=50, seed=0, **parts) as loader:
        next(loader)
        next(loader)
    assert sorted(sample.id for sample in named) == bad
    assert all("No such file" in sample.reason for sample in named)
