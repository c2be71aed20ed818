"""DSSL against loops over its equation, on every method and on ranks, with arrows one way."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forked_ranks import run_ranks_of
from term_views import POLICY, make_views
from test_resume import assert_equal, cut, final_state, losses
from tiny_net import Tiny
from tiny_run import tiny_config
from torch import nn
from toy_methods import TOY

from augengine.policies import override_policy
from augengine.views import Views
from trainer.distributed import all_reduce_
from trainer.methods.byol import BYOL
from trainer.methods.byol import Settings as BYOLSettings
from trainer.methods.method_table import METHODS, create_method
from trainer.methods.protocol import Method, Progress
from trainer.methods.simsiam import Settings as SimSiamSettings
from trainer.methods.simsiam import SimSiam
from trainer.nets.backbones import create_backbone
from trainer.nets.batchnorm import synchronize_batch_norm
from trainer.recipes.recipe import as_mapping, read_recipe, resolve, to_yaml
from trainer.record.log import read_metrics
from trainer.run import main as run
from trainer.settings.strict import merge
from trainer.terms.add_terms import add_terms
from trainer.terms.dssl import DSSL
from trainer.terms.term import Seen
from trainer.terms.term_table import read_terms
from trainer.train import train

START = Progress(0, 100, 10)
HEAVY = {"randaugment": {"num_ops": 2, "magnitude": 9}}
WITH = override_policy(POLICY, {"heavy": HEAVY})


def toy(name: str, weight: float, reverse: float) -> Method:
    """SimSiam or BYOL with the term, in float64; BYOL's target is not its online network."""
    torch.manual_seed(0)
    if name == "simsiam":
        method: Method = SimSiam(Tiny(12), SimSiamSettings(out_dim=8, predictor_dim=4))
    else:
        method = BYOL(Tiny(12), BYOLSettings(hidden_dim=8, out_dim=6))
        for p in [*method.target_backbone.parameters(), *method.target_projector.parameters()]:
            p.data += 0.1 * torch.randn_like(p)
    add_terms(method, read_terms([{"name": "dssl", "weight": weight, "reverse": reverse}]), WITH)
    return method.double()


def doubled(views: Views) -> Views:
    assert views.heavy is not None
    crops = tuple(group.double() for group in views.crops)
    return replace(views, crops=crops, heavy=views.heavy.double())


def equation(method: Any, views: Views, reverse: float) -> torch.Tensor:
    """A view and an image at a time; each view's forward alone, as in the code."""
    has_target = hasattr(method, "target_backbone")
    total = torch.zeros((), dtype=torch.float64)
    assert views.heavy is not None
    for source, heavy in zip(views.crops[0], views.heavy, strict=True):
        z, z_heavy = (method.projector(method.backbone(x)) for x in (source, heavy))
        p, p_heavy = method.predictor(z), method.predictor(z_heavy)
        if has_target:
            z, z_heavy = (
                method.target_projector(method.target_backbone(x)) for x in (source, heavy)
            )
        for i in range(views.batch_size):
            for share, a, b in ((1 - reverse, p_heavy[i], z[i]), (reverse, p[i], z_heavy[i])):
                b = b.detach()
                cosine = (a * b).sum() / (a.norm() * b.norm())
                total = total - share * cosine / (len(views.heavy) * views.batch_size)
    return total


@pytest.mark.parametrize("reverse", [0.0, 0.1])
@pytest.mark.parametrize("name", ["simsiam", "byol"])
def test_the_loss_is_the_papers(name: str, reverse: float) -> None:
    """Value and gradients of the term alone, by weight 2; the method's own loss is as without."""
    views = doubled(make_views(WITH))
    method = toy(name, 2.0, reverse)
    plain = toy(name, 0.0, reverse)
    result, alone = method(views, START), plain.step(views, START)
    expected = equation(toy(name, 0.0, reverse), views, reverse)
    torch.testing.assert_close(result.metrics["term_dssl"], expected.detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(result.loss, alone.loss + 2 * expected, rtol=1e-11, atol=1e-13)
    other = toy(name, 0.0, reverse)
    (other.step(views, START).loss + 2 * equation(other, views, reverse)).backward()
    result.loss.backward()
    for (key, ours), theirs in zip(method.named_parameters(), other.parameters(), strict=True):
        if ours.requires_grad:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-11, msg=key)


def test_arrows_go_one_way() -> None:
    """Sources get no gradient from the term, heavy views do; the method's step sees none."""
    views = doubled(make_views(WITH))
    assert views.heavy is not None
    views.heavy.requires_grad_()
    views.crops[0].requires_grad_()
    method = toy("simsiam", 1.0, 0.0)
    assert method.terms is not None
    method.step(views, START).loss.backward()
    assert views.heavy.grad is None
    of_step = views.crops[0].grad
    assert of_step is not None
    views.crops[0].grad = None
    method(views, START).loss.backward()
    torch.testing.assert_close(views.crops[0].grad, of_step, rtol=1e-9, atol=1e-14)
    assert views.heavy.grad is not None
    assert views.heavy.grad.flatten(2).any(-1).all()


def test_a_source_that_is_not_seen_is_no_target() -> None:
    """Without a momentum network only the heavy views of seen views count."""
    method = toy("simsiam", 1.0, 0.0)
    views = doubled(make_views(WITH))
    networks = {"features": method.backbone, "projections": method.get_submodule("projector")}
    z = torch.randn(2, 8, 8, dtype=torch.float64)
    (one, both) = (
        DSSL(read_terms("dssl")[0].settings, WITH)(
            Seen(views, START, columns, number, {"projections": z}, networks=networks)
        )
        for number, columns in ((1, (0, 2)), (2, (0, 1)))
    )
    assert views.heavy is not None
    p = method.projector(method.backbone(views.heavy[0]))
    expected = -torch.cosine_similarity(p, z[0]).mean()
    torch.testing.assert_close(one, expected, rtol=1e-10, atol=0)
    assert not torch.isclose(both, expected)


# Two have no projector, one projects patches, not views.
@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("distill", "simreg", "fastmoco")])
def test_every_method_takes_it(name: str) -> None:
    """Each that has projections: its loss has the term, whose gradient reaches the encoder."""
    torch.manual_seed(0)
    policy = WITH.with_views((2, 1), (8, 8))
    method = create_method(name, create_backbone("resnet10", width=0.125, stem="small"), TOY[name])
    add_terms(method, read_terms([{"name": "dssl", "reverse": 0.1}]), policy)
    method.prepare(8)
    progress = Progress(50, 100, 10.0)
    views = make_views(policy)
    result = method(views, progress)
    assert ("term_dssl" in result.metrics) is not method.looks_only(progress)
    if method.looks_only(progress):
        return
    assert -1 <= float(result.metrics["term_dssl"]) <= 1
    assert views.heavy is not None
    views.heavy.requires_grad_()
    method(views, progress).loss.backward()
    assert views.heavy.grad is not None
    assert views.heavy.grad[method.first_seen_view].any()


def compute(views: Views) -> dict[str, torch.Tensor]:
    """The loss of this rank's images, and what DDP makes of the gradients."""
    method = toy("byol", 4.0, 0.1)
    synchronize_batch_norm(method)
    result = method(views, START)
    result.loss.backward()
    found = {
        key: all_reduce_(p.grad, "mean")
        for key, p in method.named_parameters()
        if p.grad is not None
    }
    return found | {"loss": all_reduce_(result.loss.detach(), "mean")}


def body(number: int, world: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", None, timedelta(seconds=60), world, number, store)
    views, rows = doubled(make_views(WITH)), slice(number * 4, number * 4 + 4)
    assert views.heavy is not None
    part = Views(
        tuple(group[:, rows] for group in views.crops), views.ids[rows], views.labels[rows],
        views.plan.rows(rows), heavy=views.heavy[:, rows],
    )  # fmt: skip
    torch.save(compute(part), f"{folder}/{number}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    """The loss and all gradients are those of the whole batch."""
    run_ranks_of(body, 2, 2, str(tmp_path))
    expected = compute(doubled(make_views(WITH)))
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


def gap(terms: str) -> float:
    """After 60 steps: how much closer a heavy view's prediction is to its source than to others."""
    torch.manual_seed(0)
    method: Any = SimSiam(
        Tiny(12), SimSiamSettings(out_dim=16, predictor_dim=8, projector_layers=2)
    )
    add_terms(method, read_terms(terms), WITH if terms else POLICY)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    for step in range(60):
        views = make_views(WITH if terms else POLICY, batch_size=32, seed=step)
        optimizer.zero_grad()
        method(views, START).loss.backward()
        optimizer.step()
    views = make_views(WITH, batch_size=32, seed=1000)
    assert views.heavy is not None
    with torch.no_grad():
        p = method.predictor(method.projector(method.backbone(views.heavy[0])))
        z = method.projector(method.backbone(views.crops[0][0]))
    p, z = (nn.functional.normalize(x, dim=1) for x in (p, z))
    cosines = p @ z.T
    return float(cosines.diag().mean() - cosines.mean())


def test_heavy_views_come_to_their_sources() -> None:
    """With the term an image of heavy views is found by its source better than without."""
    alone, helped = gap(""), gap("dssl")
    assert helped > alone + 0.1, (alone, helped)


LENGTH = {"loop": {"epochs": 6 * 8 / 37, "batch_size": 8}}


def test_a_run_continues_exactly(shard_folder: Path, tmp_path: Path) -> None:
    """By the command, as it was; its config names heavy views, and the plain one does not."""
    every = {"run": {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}}
    values = as_mapping(tiny_config(shard_folder, "simsiam", **LENGTH, **every))
    plain = resolve(values)
    config = resolve(
        merge(values, {"policy": {"heavy": HEAVY}, "method": {"terms": [{"name": "dssl"}]}})
    )
    assert "heavy" not in to_yaml(plain)
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    whole = tmp_path / "whole"
    train(config, whole)
    again = cut(whole, tmp_path / "again", 3)
    assert run(["--out", str(again), "--resume"]) == 0
    assert losses(again) == losses(whole)
    assert_equal(final_state(again), final_state(whole))
    assert len({record["term_dssl"] for record in read_metrics(whole) if "loss" in record}) == 6
    assert "num_ops: 2" in (whole / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--terms", "dssl"], "dssl is about heavy views, got"),
        (["policy.heavy={randaugment: {}}"], "got none that does beside SimSiam; add --terms dssl"),
        (["--terms", "augself", "policy.heavy={randaugment: {}}"], "policy.heavy makes views that"),
        (["policy.heavy.randaugment.magnitude=31"], "heavy: randaugment: magnitude is 0 to 30"),
        (
            ["--terms", "dssl", "policy.heavy={grid_shuffle: {grid: 16}}", "--sizes", "8+8"],
            "a grid of 16 on views of 8 px",
        ),
        (["policy.heavi={}"], "unknown key 'heavi' in policy; did you mean heavy?"),
        (["method.terms=[{name: dssl, reverse: 2}]"], "dssl reverse lies in [0, 1], got 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str],
    message: str,
    shard_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says why, and there is no folder of the run."""
    (tmp_path / "t.yaml").write_text(to_yaml(tiny_config(shard_folder, "simsiam", **LENGTH)))
    out = tmp_path / "r"
    assert run(["--config", str(tmp_path / "t.yaml"), "--out", str(out), *words]) == 2
    said = capsys.readouterr().err
    assert message in said, said
    assert "Traceback" not in said
    assert not out.exists()


@pytest.mark.parametrize("name", ["dssl", "dssl_cifar", "dssl_demo"])
def test_the_recipes_have_the_term(name: str) -> None:
    """Each resolves, makes a heavy view a global one, and has the term by the paper's weight."""
    config = resolve(read_recipe(name))
    assert config.policy.load().heavy is not None
    (term,) = config.method.terms
    assert isinstance(term, dict)
    assert (term["name"], term["weight"]) == ("dssl", 1.0)
