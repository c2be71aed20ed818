"""The base of methods with a momentum network."""

import pytest
import torch
from torch import nn

from trainer.methods.momentum_method import MomentumMethod
from trainer.methods.protocol import Progress
from trainer.nets.batchnorm import adopt_batch_norm


class Following(MomentumMethod):
    """A backbone, a projector and what follows them, as slowly as the step's number says."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))
        self.backbone = adopt_batch_norm(network)
        self.projector = nn.Linear(4, 3)
        self.follow("target", "backbone", "projector")

    def momentum(self, progress: Progress) -> float:
        return 0.5 + progress.step / 10


def crops(num_views: int = 2) -> torch.Tensor:
    return torch.randn(num_views, 5, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def test_copies_are_children_without_gradient() -> None:
    """A checkpoint holds them under the prefix, and no optimizer sees them."""
    method = Following()
    names = {name.split(".")[0] for name in method.state_dict()}
    assert names == {"backbone", "projector", "target_backbone", "target_projector"}
    trained = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {"backbone", "projector"}


def test_copies_move_by_the_momentum_of_the_step() -> None:
    """tau old + (1 - tau) new, with tau of this progress; what is followed stays."""
    method = Following()
    old = method.followers[1]
    assert isinstance(old, nn.Linear)
    before = old.weight.detach().clone()
    with torch.no_grad():
        method.projector.weight.add_(1.0)
    new = method.projector.weight.detach().clone()
    method.after_step(Progress(step=3, total_steps=10, steps_per_epoch=5.0))
    torch.testing.assert_close(old.weight, 0.8 * before + 0.2 * new)
    assert torch.equal(method.projector.weight, new)


@pytest.mark.parametrize("per_view", [True, False])
def test_targets_are_the_copies_projections(per_view: bool) -> None:
    """[V, B, D] in train mode, without gradient, equal to the networks just copied."""
    method, views = Following().train(), crops()
    targets = method.targets(views, per_view=per_view)
    assert targets.shape == (2, 5, 3)
    assert not targets.requires_grad
    parts = views.unbind(0) if per_view else [views.flatten(0, 1)]
    expected = torch.cat([method.projector(method.backbone(part)) for part in parts])
    torch.testing.assert_close(targets.flatten(0, 1), expected)


@pytest.mark.parametrize(("final", "half_way"), [(1.0, 0.95), (0.5, 0.7), (None, 0.9)])
def test_momentum_goes_from_start_to_final(final: float | None, half_way: float) -> None:
    """A cosine over the run; without an end it stays."""
    method = MomentumMethod(0.9, final=final)
    at = [method.momentum(Progress(step, 10, steps_per_epoch=5.0)) for step in (0, 5, 10)]
    assert at == pytest.approx([0.9, half_way, 0.9 if final is None else final])


def test_without_copies_nothing_moves() -> None:
    """A method whose settings leave the copies out needs no momentum."""
    method = MomentumMethod()
    assert method.followers == ()
    method.after_step(Progress(step=0, total_steps=1, steps_per_epoch=1.0))


def test_momentum_must_be_written() -> None:
    """A subclass that follows and says no momentum is named."""
    method = MomentumMethod()
    method.backbone = nn.Linear(2, 2)
    method.follow("key", "backbone")
    with pytest.raises(NotImplementedError, match="MomentumMethod does not define momentum"):
        method.after_step(Progress(step=0, total_steps=1, steps_per_epoch=1.0))
