"""What holds for every method: it learns, repeats, resumes, takes 2+N views, refuses one."""

import copy
import re
from pathlib import Path

import pytest
import torch
from toy_methods import MIN_GLOBAL_VIEWS, PATCHES, TOY, UNSEEN_GLOBAL_VIEWS

import trainer.methods
from shards.errors import UsageError
from trainer.methods.method_table import METHODS, create_method, method_settings
from trainer.methods.protocol import Method, Progress

# A setting with a bound, where a method has no out_dim.
WHOLE_NUMBER = {"simreg": ("teacher_views", "is not negative", -1)}
EVERY = pytest.mark.parametrize("name", METHODS)


def file_of(name: str) -> str:
    """Two names may share a file: mocov1 and mocov2."""
    return METHODS[name].partition(":")[0].rpartition(".")[2]


@pytest.fixture
def build(make_backbone):
    def make(name: str) -> Method:
        backbone = make_backbone()
        torch.manual_seed(1)
        method = create_method(name, backbone, TOY[name])
        method.prepare(16)
        return method

    return make


def train(method: Method, make_views, steps: range, counts=(2,)) -> list[float]:
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for step in steps:
        progress = Progress(step, 100, steps_per_epoch=10)
        torch.manual_seed(step)
        looks_only = method.looks_only(progress)
        with torch.set_grad_enabled(not looks_only):
            result = method(make_views(counts, seed=step), progress)
        losses.append(result.loss.item())
        if looks_only:
            continue
        optimizer.zero_grad()
        result.loss.backward()
        method.before_optimizer(progress)
        optimizer.step()
        method.after_step(progress)
    return losses


@EVERY
def test_loss_falls(name: str, build, make_views) -> None:
    """Forty steps on sixteen noisy patterns lower the loss well below its start."""
    losses = train(build(name), make_views, range(40))
    start, end = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    # SimSiam's and EMP-SSL's are near their least from the start: most of them is a constant.
    share = 1.0 if "siam" in name or name == "empssl" else abs(start)
    assert end < start - 0.15 * share


@EVERY
def test_deterministic(name: str, build, make_views) -> None:
    """The same seeds give the same losses, bit for bit."""
    runs = [train(build(name), make_views, range(6), (2, 2)) for _ in range(2)]
    assert runs[0] == runs[1]


@EVERY
def test_state_dict_is_the_whole_state(name: str, build, make_views) -> None:
    """Loaded into a fresh method at any step, the run goes on with the same losses."""
    method = build(name)
    for done in (3, 4, 5, 6):  # around the swav queue's start and filling
        train(method, make_views, range(0 if done == 3 else done - 1, done))
        twin = build(name)
        with torch.no_grad():
            for p in twin.parameters():
                p.add_(0.1)
        twin.load_state_dict(copy.deepcopy(method.state_dict()))
        ahead = copy.deepcopy(method)
        todo = range(done, done + 3)
        assert train(ahead, make_views, todo) == train(twin, make_views, todo)


@EVERY
@pytest.mark.parametrize("counts", [(2,), (2, 6), (4,), (3, 1)])
def test_takes_these_views_with_one_forward_a_size(name: str, counts, build, make_views) -> None:
    """2, 2+6, 4 and 3+1 views train, and the trained backbone runs once per crop size."""
    method = build(name)
    method.check_views(counts)
    calls: list[int] = []
    method.backbone.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    result = method.step(make_views(counts), Progress(0, 100, 10))
    seen = counts[0] - UNSEEN_GLOBAL_VIEWS.get(name, 0)
    assert calls == [16 * count for count in (seen * PATCHES.get(name, 1), *counts[1:])]
    assert result.loss.shape == ()
    assert result.loss.isfinite()
    assert not result.embeddings.requires_grad
    assert len(result.embeddings) == 16 * seen


@EVERY
@pytest.mark.parametrize("counts", [(1,), (1, 6), ()])
def test_refuses_fewer_global_views_than_it_needs(name: str, counts, build) -> None:
    """One global view has nothing to agree with: a line that says what would do."""
    needs = MIN_GLOBAL_VIEWS.get(name, 2)
    if counts and counts[0] >= needs:
        build(name).check_views(counts)
        return
    with pytest.raises(UsageError, match=rf"at least {needs} global view.*try --views {needs}"):
        build(name).check_views(counts)


@EVERY
def test_every_trainable_parameter_gets_a_gradient(name: str, build, make_views) -> None:
    """Nothing trainable is left out of the loss (DDP relies on it), nothing frozen gets any."""
    method = build(name)
    method.step(make_views((2, 2)), Progress(0, 100, 10)).loss.backward()
    for parameter_name, p in method.named_parameters():
        assert (p.grad is not None) == p.requires_grad, parameter_name
        if parameter_name.startswith(("target_", "teacher_")):
            assert not p.requires_grad, parameter_name


@EVERY
def test_bf16_autocast_keeps_the_loss_in_float32(name: str, build, make_views) -> None:
    """Under bf16 autocast the loss is float32 and close to the float32 run's."""
    full = build(name).step(make_views(), Progress(0, 100, 10)).loss
    with torch.autocast("cpu", torch.bfloat16):
        half = build(name).step(make_views(), Progress(0, 100, 10)).loss
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)


@EVERY
def test_published_defaults_build_settings(name: str) -> None:
    """No setting is required; an unknown or ill-typed one is named."""
    method_settings(name, {})
    with pytest.raises(UsageError, match="out_dmi"):
        method_settings(name, {"out_dmi": 3})
    key, rule, wrong = WHOLE_NUMBER.get(name, ("out_dim", "is at least 1", 0))
    with pytest.raises(UsageError, match=key):
        method_settings(name, {key: "wide"})
    with pytest.raises(UsageError, match=rf"{file_of(name)} {key} {rule}, got {wrong}"):
        method_settings(name, {key: wrong})


def test_unknown_method() -> None:
    """A misspelt method is named with the nearest one."""
    with pytest.raises(UsageError, match="unknown method 'swaw'; did you mean swav"):
        method_settings("swaw", {})


def test_no_method_imports_another() -> None:
    """A method stands on shared parts only: no file of the table names another's."""
    folder = Path(trainer.methods.__path__[0])
    for name in map(file_of, METHODS):
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        imported = set(re.findall(r"trainer\.methods\.(\w+)", text))
        assert imported <= {"protocol", "momentum_method"}, name
        assert "protocol" in imported, name
