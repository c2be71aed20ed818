"""What a run will hold is told before its first step; one that cannot fit is refused in a line."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from torch.autograd.graph import saved_tensors_hooks
from typed import typed

from shards.cursor import Cursor
from shards.errors import UsageError
from trainer.build import Parts, build_parts, open_loader
from trainer.methods.method_table import METHODS
from trainer.optim.create_optimizer import OPTIMIZERS
from trainer.recipes.recipe import as_mapping, resolve
from trainer.settings.strict import merge
from trainer.step import optimizer_step
from trainer.watch import footprint
from trainer.watch.dryrun import STATES, step_bytes, step_bytes_by_trial
from trainer.watch.footprint import Footprint, weigh

HUGE = "--method byol --config byol --views 2 --sizes 4000 --batch-size 32"


def bytes_of(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def weighed(parts: Parts) -> Footprint:
    found = weigh(parts)
    assert isinstance(found, Footprint), found
    return found


def saved_bytes(parts: Parts) -> int:
    """What a real step keeps for its backward, its views and its gradients."""
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with open_loader(parts, Cursor(0)) as loader, saved_tensors_hooks(keep, lambda tensor: tensor):
        parts.method.train()
        # In the second epoch: the first step of some only looks.
        optimizer_step(parts.method, parts, iter(loader), parts.timeline.progress(6))
    state = parts.method.state_dict().values()
    own = {t.untyped_storage().data_ptr() for t in state if isinstance(t, torch.Tensor)}
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in own)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_weighed_for_every_method(method: str, shard_folder: Path) -> None:
    """No less than a real step keeps for backward, nor much more; and the method is as it was."""
    parts = build_parts(tiny_config(shard_folder, method))
    before = copy.deepcopy(parts.method.state_dict())
    told = step_bytes(parts, 8)
    torch.testing.assert_close(dict(parts.method.state_dict()), dict(before), rtol=0, atol=0)
    trained = bytes_of([p for p in parts.method.parameters() if p.requires_grad])
    saved = saved_bytes(parts)
    assert saved <= told <= 1.6 * saved + 3 * trained


@pytest.mark.parametrize("method", METHODS)
def test_a_few_images_tell_of_many(method: str, shard_folder: Path) -> None:
    """As much as shapes alone tell; nothing of the run has moved, and no number was drawn.

    SSL-HSIC compares all pairs of a batch, and these images of 16 px take less than the pairs.
    """
    parts = build_parts(tiny_config(shard_folder, method))
    before, numbers = copy.deepcopy(parts.method.state_dict()), torch.get_rng_state()
    told = step_bytes_by_trial(parts, 256, 1 << 40)
    assert told is not None
    assert told == pytest.approx(step_bytes(parts, 256), rel=0.3 if method == "sslhsic" else 0.1)
    torch.testing.assert_close(dict(parts.method.state_dict()), dict(before), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), numbers)


def test_a_trial_is_left_out_where_it_could_be_too_much(shard_folder: Path) -> None:
    """A few large images are judged by their pixels before any is made."""
    parts = build_parts(tiny_config(shard_folder, "byol"))
    assert step_bytes_by_trial(parts, 32, 1 << 20) is None
    assert step_bytes_by_trial(parts, 2, 1 << 20) is None


@pytest.mark.parametrize("method", ["byol", "mocov2"])
def test_a_forward_of_a_few_images_is_its_own_trial(method: str, shard_folder: Path) -> None:
    """MoCo's groups take eight: no more than the run's own, and exact, without the compiler."""
    parts = build_parts(tiny_config(shard_folder, method))
    images = 8 if method == "mocov2" else 2
    told = step_bytes_by_trial(parts, images, 1 << 40)
    assert told == pytest.approx(step_bytes(parts, images), rel=0.02)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimizer_keeps_is_known(name: str, shard_folder: Path) -> None:
    """As many tensors of the gradients' sizes as STATES says, and a few numbers."""
    optim = {"name": name, "base_lr": 0.1, "warmup_epochs": 0.0}
    parts = build_parts(tiny_config(shard_folder, "byol", optim=optim))
    with open_loader(parts, Cursor(0)) as loader:
        parts.method.train()
        optimizer_step(parts.method, parts, iter(loader), parts.timeline.progress(1))
    states = [
        tensor
        for state in parts.optimizer.state.values()
        for tensor in state.values()
        if isinstance(tensor, torch.Tensor) and tensor.ndim
    ]
    trained = bytes_of([p for p in parts.method.parameters() if p.requires_grad])
    assert bytes_of(states) == STATES[name] * trained


def test_it_grows_with_the_batch(shard_folder: Path) -> None:
    """Activations by the image; weights, gradients and optimizer state not."""
    parts = build_parts(tiny_config(shard_folder, "byol"))
    one, two, four = (step_bytes(parts, images) for images in (8, 16, 32))
    assert four - two == pytest.approx(2 * (two - one), rel=0.05)


def test_a_queue_counts_before_it_is_filled(shard_folder: Path) -> None:
    """Its rows, and their scores."""
    tiny = as_mapping(tiny_config(shard_folder, "swav"))
    short, long = (
        build_parts(resolve(merge(tiny, {"method": {"queue_length": length}})))
        for length in (24, 2400)
    )
    assert step_bytes(long, 8) > step_bytes(short, 8) + 2 * 2376 * 8 * 4


@pytest.mark.slow
def test_a_run_that_cannot_fit_is_refused(shard_folder: Path, tmp_path: Path) -> None:
    """One line, before anything is written: what it takes, of what, and what to type."""
    said = typed(f"python -m trainer.run --data {shard_folder} {HUGE} --out run", tmp_path, 2)
    assert re.fullmatch(
        r"error: a run fits into memory, got --batch-size 32, which needs about \S+ .iB to \S+ .iB "
        r"\(weights \S+ .iB \+ a step .+\) of \S+ .iB that are free; "
        r"(try --batch-size \d+|no smaller batch would do: take a smaller --arch.*)\n",
        said,
    )
    assert not any(tmp_path.iterdir())


def test_the_batch_that_is_advised_fits(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that libraries add; where none does, other things are named."""
    parts = build_parts(tiny_config(shard_folder, "byol", loop={"epochs": 1, "batch_size": 32}))
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: 1 << 40)
    monkeypatch.setattr(footprint, "step_bytes_by_trial", lambda *_: None)
    found = weighed(parts)
    assert found.surely_fits
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: found.to_come)
    assert weighed(parts).describe().endswith(" free: it may not fit")
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: found.to_come - 1)
    with pytest.raises(UsageError, match=r"got --batch-size 32, .*; try --batch-size (16|8|4)$"):
        weigh(parts)
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: 1000)
    with pytest.raises(UsageError, match="no smaller batch would do: take a smaller --arch"):
        weigh(parts)
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: None)
    assert "the system does not say how much is free" in weighed(parts).describe()


def test_processes_of_a_machine_share_its_memory(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of them have a fourth of what is free each."""
    parts = build_parts(tiny_config(shard_folder, "byol"))
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: 1 << 40)
    monkeypatch.setattr(footprint, "Neighbours", lambda: range(4))
    found = weighed(parts)
    assert found.free == 1 << 38
    monkeypatch.setattr(footprint, "free_host_bytes", lambda: 4000)
    with pytest.raises(UsageError, match="that are free for each of 4 processes; "):
        weigh(parts)


def test_a_cache_of_the_host_counts(shard_folder: Path) -> None:
    """All that it will hold, though it is empty yet."""
    config = tiny_config(shard_folder, "byol")
    parts = build_parts(config)
    data: dict[str, Any] = {"cache": "host", "cache_bytes": "1MiB"}
    cached = build_parts(tiny_config(shard_folder, "byol", data=data))
    found = [weighed(p) for p in (parts, cached)]
    assert found[0].cache == 0
    assert found[1].cache == sum(int(size) for size in parts.index.records["size"])
    assert " + cache " in found[1].describe()


def test_a_method_that_asks_for_values_is_not_weighed(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a trial could be too much: the run goes on, and says that it cannot know."""
    monkeypatch.setattr(footprint, "step_bytes_by_trial", lambda *_: None)
    parts = build_parts(tiny_config(shard_folder, "byol"))
    step = type(parts.method).step

    def greedy(self: Any, views: Any, progress: Any) -> Any:
        views.crops[0].numpy()
        return step(self, views, progress)

    monkeypatch.setattr(type(parts.method), "step", greedy)
    found = weigh(parts)
    assert isinstance(found, str)
    assert found.startswith("memory: cannot be told before the run (")
