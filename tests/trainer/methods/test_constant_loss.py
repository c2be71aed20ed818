"""Every method says the loss of a constant output; it is what its own step then has."""

import math

import pytest
import torch
from torch import nn
from toy_methods import TOY

from trainer.losses.nce import estimate_log_z
from trainer.methods.instdisc import InstDisc
from trainer.methods.method_table import METHODS, create_method
from trainer.methods.protocol import Method, Progress

# What the last networks of a method are called; what they say is made the same for all.
BEST = {"lejepa": 0.0}  # the constant of least loss, where not all cost the same
LAST = ("projector", "predictor", "expander", "prototypes", "classifier")
OF_A_TEACHER = ("distill", "simreg")  # what it will say, nobody knows
FORMS = [
    *((name, {}) for name in METHODS if name not in OF_A_TEACHER),
    ("relic", {"own_view": True, "num_negatives": 5}),
    ("simclr", {"code_scale": True}),
    ("simclr", {"queue_length": 48}),
    ("swav", {"queue_length": 0}),
    ("vicreg", {"paper_variance": True}),
    ("vicreg", {"correlation": True, "whiten_groups": 4}),
    ("mmcr", {"momentum": None}),
    ("instdisc", {"form": "info_nce"}),
    ("instdisc", {"num_negatives": 0}),
]


def constant_method(name: str, backbone: nn.Module, settings: dict) -> Method:
    """The method, with every embedding, score and centroid the same."""
    torch.manual_seed(1)
    method = create_method(name, backbone, {**TOY[name], **settings})
    method.prepare(16)
    for child, network in method.named_children():
        if child.endswith(LAST):
            network.register_forward_hook(lambda _, __, out: 0 * out + BEST.get(name, 1.0))
    if hasattr(method, "centroids"):
        assert isinstance(method.centroids, torch.Tensor)
        method.centroids.copy_(method.centroids[:, :1].expand_as(method.centroids))
    return method


def fill(method: Method, make_views, counts: tuple[int, ...]) -> torch.Tensor:
    """The last loss of thirty steps, in which queues, banks and centers become constant too."""
    loss = torch.tensor(math.nan)
    for step in range(30):
        loss = method(make_views(counts), Progress(step, 100, 1000)).loss
        method.after_step(Progress(step, 100, 1000))
    return loss


@pytest.mark.parametrize(("name", "settings"), FORMS)
@pytest.mark.parametrize("counts", [(2,), (2, 2)])
def test_it_is_the_loss_of_equal_embeddings(
    name: str, settings: dict, counts, make_backbone, make_views
) -> None:
    """Of two views and of more, on sixteen images, when all that is remembered is equal too."""
    method = constant_method(name, make_backbone(), settings)
    if name == "swav":  # its queue fills from the first step on
        method = constant_method(name, make_backbone(), {"queue_start_epoch": 0.0, **settings})
    loss = fill(method, make_views, counts)
    if isinstance(method, InstDisc):
        scores = torch.full((16, 7), 1 / method.settings.temperature)
        method.log_z.copy_(estimate_log_z(scores, 16))
        loss = method(make_views(counts), Progress(30, 100, 1000)).loss
    said = method.constant_loss(16, (counts[0], sum(counts)))
    assert said is not None
    assert loss.item() == pytest.approx(said, rel=1e-4, abs=1e-5)


def vary(network: nn.Module, given: tuple, out: torch.Tensor) -> torch.Tensor:
    return out * torch.rand(out.shape[-1])


@pytest.mark.parametrize("name", ["swav", "dino", "exemplar"])
def test_no_constant_output_has_a_lower_loss(name: str, make_backbone, make_views) -> None:
    """Scores that differ between prototypes, but not between images, cost more."""
    method = constant_method(name, make_backbone(), {})
    for child, network in method.named_children():
        if child.endswith(("prototypes", "classifier")):
            network.register_forward_hook(vary)
    said = method.constant_loss(16, (2, 2))
    assert said is not None
    assert fill(method, make_views, (2,)).item() > said


def test_a_method_may_not_know(make_backbone) -> None:
    """Distillation's depends on what the teacher will say; so does that of a method of one's own
    which does not tell.
    """
    for name in OF_A_TEACHER:
        method = create_method(name, make_backbone(), TOY[name])
        assert method.constant_loss(16, (2, 2)) is None
    assert Method().constant_loss(16, (2, 2)) is None
