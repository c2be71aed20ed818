"""SimReg: what is regressed, by which head, of which views; teachers stand still."""

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.methods.protocol import Progress
from trainer.methods.simreg import Settings, SimReg
from trainer.nets.batchnorm import BatchNorm2d

START = Progress(0, 100, steps_per_epoch=10)


class Other(nn.Module):
    """A teacher of 5 features, unlike the student, whose dropout would tell train mode."""

    feature_dim = 5

    def __init__(self, seed: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Conv2d(3, 5, 3), BatchNorm2d(5), nn.Dropout(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).mean((2, 3))


def student(make_backbone, teachers: list[nn.Module], **changes: object) -> SimReg:
    backbone = make_backbone()
    torch.manual_seed(1)
    method = SimReg(backbone, Settings(teachers=("a",) * len(teachers), **changes))
    method.take_teachers(teachers)
    return method.train()


def distances(predicted: torch.Tensor, target: torch.Tensor) -> list[float]:
    """|n(p) - n(t)|^2 of every row, written out in float64."""
    rows = zip(predicted.double(), target.double(), strict=True)
    return [float(((p / p.norm() - t / t.norm()) ** 2).sum()) for p, t in rows]


def test_loss_is_the_squared_distance_of_unit_vectors(make_backbone, make_views) -> None:
    """2+1 views: the mean over all rows of |n(h(S(x))) - n(T(x))|^2, the teacher in eval mode."""
    teacher = Other()
    method, views = student(make_backbone, [teacher]), make_views((2, 1))
    loss = method.step(views, START).loss
    groups = [crops.flatten(0, 1) for crops in views.crops]
    with torch.no_grad():
        features = torch.cat([method.backbone(group) for group in groups])
        predicted = method.heads[0](features)
        target = torch.cat([teacher.eval()(group) for group in groups])
    rows = distances(predicted, target)
    assert len(rows) == 48
    assert loss.item() == pytest.approx(sum(rows) / 48, rel=1e-5)


def test_several_teachers_have_a_head_each(make_backbone, make_views) -> None:
    """The loss is the mean of the losses that each alone would have had."""
    teachers = [Other(3), Other(4), make_backbone()]
    method, views = student(make_backbone, teachers), make_views((1,))
    result = method.step(views, START)
    with torch.no_grad():
        features = method.backbone(views.crops[0][0])
        alone = [
            sum(distances(head(features), teacher(views.crops[0][0]))) / 16
            for teacher, head in zip(teachers, method.heads, strict=True)
        ]
    assert result.loss.item() == pytest.approx(sum(alone) / 3, rel=1e-5)
    assert [result.metrics[f"teacher_{i}"].item() for i in range(3)] == pytest.approx(alone)
    assert [head[-1].out_features for head in method.heads] == [5, 5, 16]


def test_strong_views_regress_the_teachers_own(make_backbone, make_views) -> None:
    """teacher_views=2 of 3+1: the mean over pairs of 2 student views and 2 teacher views."""
    teacher = Other()
    method, views = student(make_backbone, [teacher], teacher_views=2), make_views((3, 1))
    loss = method.step(views, START).loss
    with torch.no_grad():
        seen = [method.backbone(views.crops[0][2]), method.backbone(views.crops[1][0])]
        predicted = method.heads[0](torch.cat(seen)).unflatten(0, (2, 16))
        targets = [teacher.eval()(view) for view in views.crops[0][:2]]
    rows = [x for p in predicted for t in targets for x in distances(p, t)]
    assert len(rows) == 64
    assert loss.item() == pytest.approx(sum(rows) / 64, rel=1e-5)
    assert method.seen_global_views(3) == 1


def test_the_head_is_the_papers(make_backbone) -> None:
    """D, 2D, D, 2D, D of the teacher; batch norm and ReLU on the wide layers alone; all biases."""
    head = student(make_backbone, [Other()]).heads[0]
    kinds = [type(layer).__name__.removeprefix("View") for layer in head]
    wide = ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert kinds == wide * 2
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    widths = [(layer.in_features, layer.out_features) for layer in linear]
    assert widths == [(16, 32), (32, 16), (16, 32), (32, 5)]
    assert all(layer.bias is not None for layer in linear)
    flat = student(make_backbone, [Other()], head="linear").heads[0]
    assert [type(layer).__name__ for layer in flat] == ["BatchNorm1d", "Linear"]


def test_teachers_stand_still(make_backbone, make_views) -> None:
    """No gradient, no running statistics moved, in whichever mode the student is."""
    method = student(make_backbone, [Other()])
    before = {name: value.clone() for name, value in method.teachers.state_dict().items()}
    method.train().step(make_views(), START).loss.backward()
    assert method.backbone.training
    assert not any(module.training for module in method.teachers.modules())
    for name, value in method.teachers.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in method.teachers.parameters())
    assert all(p.grad is not None for p in method.heads.parameters())


def test_without_a_teacher_it_says_so(make_backbone) -> None:
    """The control regresses the student's own start, and a run's first lines tell it."""
    method = SimReg(make_backbone(), Settings())
    assert method.given == ()
    assert "a control" in method.notes[0]
    own = method.teachers[0].state_dict()
    assert all(torch.equal(own[k], v) for k, v in method.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("own", "views", "words"),
    [(1, (1,), r"got 1 of --views 1; try --views 2"), (2, (1, 2), r"got 2 of --views 1\+2")],
)
def test_the_student_has_a_view(make_backbone, own: int, views: tuple, words: str) -> None:
    """Teachers' own views are global ones, and some view is left."""
    with pytest.raises(UsageError, match=words):
        student(make_backbone, [Other()], teacher_views=own).check_views(views)
    student(make_backbone, [Other()], teacher_views=1).check_views((1, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"head": "wide"}, "unknown simreg head 'wide'; known: deep, linear"),
     ({"teachers": ()}, "simreg teachers are names of encoders, or null"),
     ({"teacher_views": -1}, "simreg teacher_views is not negative, got -1")],
)  # fmt: skip
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
