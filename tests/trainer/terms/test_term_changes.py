"""Terms that change a thing of a step: ranks, parts, resume, other terms, and what is refused."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forked_ranks import run_ranks_of
from term_views import POLICY, make_views
from test_resume import assert_equal, cut, final_state, losses
from tiny_run import tiny_config
from torch import nn
from toy_methods import TOY

from augengine.views import Views
from shards.errors import UsageError
from trainer.distributed import all_reduce_
from trainer.methods.method_table import create_method
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.batchnorm import synchronize_batch_norm
from trainer.nets.view_noise import view_uniforms
from trainer.recipes.recipe import as_mapping, resolve, to_yaml
from trainer.record.log import read_metrics
from trainer.run import main as run
from trainer.settings.strict import merge
from trainer.terms.add_terms import add_terms
from trainer.terms.term_table import read_terms

MIXED = {"name": "mochi", "hardest": 8, "pairs": 6, "with_query": 3, "start_epoch": 0.5}
PREDICTOR = {"name": "compress_predictor", "hidden_dim": 8, "weight": 0.2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "compress": ("simclr", {"name": "compress", "kappa_e": 100.0}),
    "compress_predictor": ("byol", PREDICTOR),
    "mochi": ("mocov2", MIXED),
}
ELSEWHERE = [("mocov2", "compress"), ("mocov3", "compress_predictor"), ("mocov1", "mochi")]
LATER = Progress(50, 100, 10.0)


class Flat(nn.Module):
    """Four pixels' means and a linear layer: no batch statistics of its own."""

    feature_dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def with_term(
    method: str, term: dict[str, Any] | None, policy: Any = POLICY, **more: Any
) -> Method:
    torch.manual_seed(0)
    made = create_method(method, Flat(), {**TOY[method], **more})
    add_terms(made, read_terms([term] if term else []), policy, 3)
    return made.double()


def doubles(views: Views) -> Views:
    crops = tuple(group.double() for group in views.crops)
    return Views(crops, views.ids, views.labels, views.plan)


def part_of(views: Views, rows: slice) -> Views:
    crops = tuple(group[:, rows] for group in views.crops)
    return Views(crops, views.ids[rows], views.labels[rows], views.plan.rows(rows))


@pytest.mark.parametrize(
    ("method", "name"), [(m, t["name"]) for m, t in CASES.values()] + ELSEWHERE
)
def test_the_loss_is_another_and_every_layer_learns(method: str, name: str) -> None:
    """Beside every method that states the thing; embeddings to be watched stay what they were."""
    term = CASES[name][1]
    policy = POLICY.with_views((2, 1), (8, 4))
    found, plain = with_term(method, term, policy), with_term(method, None)
    views = doubles(make_views())
    ours, before = found(views, LATER), plain(views, LATER)
    assert torch.equal(ours.embeddings, before.embeddings)
    assert not torch.isclose(ours.loss, before.loss)
    ours.loss.backward()
    grads = [p.grad for p in found.parameters() if p.requires_grad]
    assert all(grad is not None for grad in grads)


def compute(name: str, views: Views) -> dict[str, torch.Tensor]:
    """The loss of this rank's images, and what DDP makes of the gradients."""
    method, term = CASES[name]
    more = {"groups": 2, "shuffle": False} if method == "mocov2" else {}
    made = with_term(method, term, **more)
    if made.sync_batch_norm:
        synchronize_batch_norm(made)
    loss = made(views, LATER).loss
    loss.backward()
    found = {
        key: all_reduce_(p.grad.clone(), "mean")
        for key, p in made.named_parameters()
        if p.grad is not None
    }
    return found | {"loss": all_reduce_(loss.detach(), "mean")}


def body(number: int, world: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", None, timedelta(seconds=120), world, number, store)
    part = part_of(doubles(make_views()), slice(number * 4, number * 4 + 4))
    torch.save({name: compute(name, part) for name in CASES}, f"{folder}/{number}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    """Losses and gradients of whole methods are those of the whole batch: draws are an image's."""
    run_ranks_of(body, 2, 2, str(tmp_path))
    views = doubles(make_views())
    expected = {name: compute(name, views) for name in CASES}
    assert expected["mochi"]["loss"].isfinite()
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_draws_belong_to_an_image_its_epoch_and_the_view() -> None:
    """Not to its place in a batch, so parts of a step have those of the whole one."""
    views = make_views(batch_size=6)
    whole = view_uniforms(views, (0, 2), 3, 128, 9)
    assert whole.shape == (2, 6, 9)
    part = part_of(views, slice(4, 6))
    assert (view_uniforms(part, (0, 2), 3, 128, 9) == whole[:, 4:]).all()
    assert (view_uniforms(views, (2,), 3, 128, 5) == whole[1:, :, :5]).all()
    for other in (
        (views, (0, 2), 4, 128, 9),
        (views, (0, 2), 3, 129, 9),
        (views, (1, 0), 3, 128, 9),
    ):
        assert not (view_uniforms(*other) == whole).any()
    views.plan.epochs[:] = 1
    assert not (view_uniforms(views, (0, 2), 3, 128, 9) == whole).any()


def test_no_term_sees_anothers_change() -> None:
    """HSIC tells of the projections what it tells without the samples beside it."""
    views = doubles(make_views())
    told = []
    for terms in (["hsic"], ["compress", "hsic"], ["hsic", "compress"]):
        torch.manual_seed(0)
        method = create_method("simclr", Flat(), TOY["simclr"])
        add_terms(method, read_terms(terms), POLICY, 3)
        told.append(method.double()(views, LATER).metrics["term_hsic"])
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("name", CASES)
def test_a_run_with_a_change_continues_exactly(
    name: str, shard_folder: Path, tmp_path: Path
) -> None:
    """By the command: the continued run has bit for bit the whole run's losses and state."""
    method, term = CASES[name]
    every = {"run": {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}}
    length = {"loop": {"epochs": 6 * 8 / 37, "batch_size": 8, "seed": 5}}
    values = as_mapping(tiny_config(shard_folder, method, **length, **every))
    config = resolve(merge(values, {"method": {"terms": [term]}}))
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    whole = tmp_path / "whole"
    assert run(["--config", str(tmp_path / "mine.yaml"), "--out", str(whole)]) == 0
    again = cut(whole, tmp_path / "again", 4)
    assert run(["--out", str(again), "--resume"]) == 0
    assert losses(again) == losses(whole)
    assert_equal(final_state(again), final_state(whole))
    told = [record for record in read_metrics(whole) if "loss" in record]
    assert all((f"term_{name}" in record) is (name != "mochi") for record in told)


OWN = '''"""Others ask."""
from trainer.terms.term import Term

class Others(Term):
    changes = "queries"

    def change(self, thing, seen):
        return thing.roll(1, 1)

class Idle(Term):
    pass
'''
REFUSED = [
    ("byol", "compress", "changes the queries of a step, got BYOL, which states predictions;"),
    ("dcl", "compress", "got SimCLR, which states nothing that a term may change; leave it out"),
    ("simclr", "mochi", "changes the negatives of a step, got SimCLR, which states queries;"),
    ("simsiam", "compress_predictor", "needs momentum projections (a child target_projector or"),
    ("simclr", "compress,own_other:Others", "one term changes the queries of a step, got Compress"),
    (
        "simclr",
        "own_other:Idle",
        "adds a loss (forward) or changes something (changes, change), got",
    ),
    ("mocov2", "mochi", "mochi's hardest are rows of the queue, which holds 20, got 1024; lower"),
    ("mocov2", "[{name: mochi, weight: 0.5}]", "adds no loss that could be weighed: its weight is"),
    ("byol", "[{name: compress_predictor, kappa_e: 0}]", "compress_predictor kappa_e is positive"),
    ("simclr", "[{name: compress, kappa: 5}]", "unknown key 'kappa' in method.terms[0]"),
]


@pytest.mark.parametrize(("method", "terms", "message"), REFUSED)
def test_what_cannot_be_changed_is_refused_before_anything_is_written(
    method: str,
    terms: str,
    message: str,
    shard_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says why, and there is no folder of the run."""
    (tmp_path / "own_other.py").write_text(OWN)
    (tmp_path / "t.yaml").write_text(to_yaml(tiny_config(shard_folder, method)))
    monkeypatch.chdir(tmp_path)
    words = ["--config", "t.yaml", "--out", "r"]
    words += [f"method.terms={terms}"] if terms.startswith("[") else ["--terms", terms]
    assert run(words) == 2
    said = capsys.readouterr().err
    assert message in said, said
    assert "Traceback" not in said
    assert not Path("r").exists()


class Forgets(Method):
    """Says that it states something, and does not."""

    states = ("queries",)

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.projector = Flat(), nn.Linear(16, 4)

    def step(self, views: Views, progress: Progress) -> StepResult:
        z = self.projector(self.backbone(views.crops[0][0]))
        return StepResult(z.square().mean(), z.detach())


def test_a_step_that_does_not_state_the_thing_is_told() -> None:
    """Not trained without the change, silently."""
    method = Forgets()
    add_terms(method, read_terms("compress"), POLICY)
    with pytest.raises(UsageError, match=r"changes the queries once a step, which Forgets says it"):
        method(make_views(), LATER)
