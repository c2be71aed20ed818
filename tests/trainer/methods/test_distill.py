"""Distillation: the teacher from its file, what is matched, labels beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from augengine.views import Views
from shards.errors import DataError, UsageError
from trainer.methods.distill import Distill, Settings
from trainer.methods.protocol import Progress
from trainer.nets.backbones import create_backbone
from trainer.nets.classifier import Classifier, save_classifier

START = Progress(0, 100, steps_per_epoch=10)
BACKBONE = {"arch": "resnet10", "image_size_px": 8, "stem": "small", "width": 0.125}


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """The file of a classifier of six classes, unlike the student in its encoder."""
    torch.manual_seed(5)
    classifier = Classifier(create_backbone(**BACKBONE), nn.Sequential(), 6)
    nn.init.normal_(classifier.linear.weight)
    save_classifier(tmp_path / "teacher.pt", classifier, BACKBONE)
    return tmp_path / "teacher.pt"


def student(make_backbone, **changes: object) -> Distill:
    backbone = make_backbone()
    torch.manual_seed(1)
    return Distill(backbone, Settings(**changes))


def test_loss_is_the_equation(make_backbone, make_views, teacher: Path) -> None:
    """2+1 views: -sum P_T log P_S of every view, teacher in eval mode; the mean of all."""
    method = student(make_backbone, teacher=str(teacher), temperature=0.5)
    method.train()
    views = make_views((2, 1))
    loss = method.step(views, START).loss
    groups = [crops.flatten(0, 1) for crops in views.crops]
    ours = torch.cat([method.backbone(group) for group in groups])
    scores = ours @ method.classifier.weight.T + method.classifier.bias
    targets = torch.cat([method.teacher.eval()(group) for group in groups])
    p, q = (targets / 0.5).softmax(1), (scores / 0.5).softmax(1)
    torch.testing.assert_close(loss, -(p * q.log()).sum(1).mean())
    assert scores.shape == (48, 6)


def test_teacher_stands_still(make_backbone, make_views, teacher: Path) -> None:
    """No gradient, no running statistics moved, in whichever mode the student is."""
    method = student(make_backbone, teacher=str(teacher))
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    method.train().step(make_views(), START).loss.backward()
    assert method.backbone.training
    assert not any(module.training for module in method.teacher.modules())
    for name, value in method.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in method.teacher.parameters())


def test_labels_beside_the_teacher(make_backbone, make_views, teacher: Path) -> None:
    """alpha of distillation and 1 - alpha of the labels' cross-entropy, over all rows."""
    views = make_views((2,))
    labels = np.where(np.arange(16) < 6, np.arange(16), -1).astype(np.int32)
    views = Views(views.crops, views.ids, labels, views.plan)
    whole = student(make_backbone, teacher=str(teacher)).step(views, START).loss
    method = student(make_backbone, teacher=str(teacher), alpha=0.25)
    loss = method.step(views, START).loss
    scores = method.classifier(method.backbone(views.crops[0].flatten(0, 1)))
    rows = [-scores[v * 16 + b].log_softmax(0)[b] for v in range(2) for b in range(6)]
    torch.testing.assert_close(loss, 0.25 * whole + 0.75 * torch.stack(rows).sum() / 32)


def test_a_class_that_the_teacher_does_not_know_is_named(make_backbone, make_views) -> None:
    """Labels up to 7 and a teacher of seven classes: a line, not torch's index error."""
    views = make_views((1,))
    views = Views(views.crops, views.ids, np.full(16, 7, np.int32), views.plan)
    method = student(make_backbone, out_dim=7, alpha=0.5)
    with pytest.raises(UsageError, match="knows every class of the data, 7 among them, got '7 cl"):
        method.step(views, START)


def test_a_file_that_is_no_teacher_is_named(make_backbone, tmp_path: Path) -> None:
    """A missing file is one line that says how to write one."""
    with pytest.raises(DataError, match=r"trainer.evaluate RUN --finetune SHARE.*gone.pt"):
        student(make_backbone, teacher=str(tmp_path / "gone.pt"))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"temperature": 0.0}, "distill temperature is positive, got 0.0"),
     ({"alpha": 0.0}, r"distill alpha lies in \(0, 1\], got 0.0")],
)  # fmt: skip
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)


@pytest.mark.parametrize(("alpha", "classes", "words"), [
    (0.5, ("b", "a"), "got 2 classes for the teacher's 2 that differ in their order; try"),
    (0.5, ("a", "c"), "that differ in b, c; try method.alpha=1"),
    (0.5, ("a", "b"), None), (0.5, (), None), (1.0, ("b", "a"), None),
])  # fmt: skip
def test_labels_are_numbered_as_the_teachers_classes(
    make_backbone, tmp_path: Path, alpha: float, classes: tuple[str, ...], words: str | None
) -> None:
    """Names that differ are refused where labels are used: a number would mean another class."""
    teacher = Classifier(create_backbone(**BACKBONE), nn.Sequential(), 2, ("a", "b"))
    save_classifier(tmp_path / "teacher.pt", teacher, BACKBONE)
    method = student(make_backbone, teacher=str(tmp_path / "teacher.pt"), alpha=alpha)
    if words is None:
        method.check_classes(classes)
    else:
        with pytest.raises(UsageError, match=words):
            method.check_classes(classes)
