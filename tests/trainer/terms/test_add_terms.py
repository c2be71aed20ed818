"""Terms beside a method: what they change, what they leave alone, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from term_views import POLICY, make_views
from test_resume import assert_equal, cut, final_state, losses
from tiny_run import tiny_config
from toy_methods import TOY, UNSEEN_GLOBAL_VIEWS

from shards.errors import UsageError
from trainer.config import TrainConfig
from trainer.export import main as export
from trainer.methods.method_table import METHODS, create_method
from trainer.methods.protocol import Progress
from trainer.nets.backbones import create_backbone
from trainer.recipes.recipe import as_mapping, resolve, to_yaml
from trainer.record.log import read_metrics
from trainer.run import main as run
from trainer.settings.strict import merge
from trainer.terms.add_terms import Terms, add_terms
from trainer.terms.term import Seen, Term
from trainer.terms.term_table import read_terms
from trainer.train import train

AUGSELF = {"name": "augself", "hidden_dim": 8}
LENGTH = {"loop": {"epochs": 6 * 8 / 37, "batch_size": 8}}
EVERY = {"run": {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}}


def with_terms(shards: Path, terms: list[dict[str, Any]], **changes: Any) -> TrainConfig:
    """Six steps of SimSiam."""
    values = as_mapping(tiny_config(shards, "simsiam", **LENGTH, **changes))
    return resolve(merge(values, {"method": {"terms": terms}}))


UNLIKE_VIEWS = (*UNSEEN_GLOBAL_VIEWS, "fastmoco")  # one view is trained on; patches are


@pytest.mark.parametrize("name", [name for name in METHODS if name not in UNLIKE_VIEWS])
def test_every_method_takes_a_term(name: str) -> None:
    """None is written for it: its step is seen, the loss grows, the heads get a gradient."""
    torch.manual_seed(0)
    policy = POLICY.with_views((2, 1), (16, 8))
    method = create_method(name, create_backbone("resnet10", width=0.125, stem="small"), TOY[name])
    names = list(method.state_dict())
    add_terms(method, read_terms([{**AUGSELF, "weight": 3.0}]), policy)
    method.prepare(8)
    assert set(names) <= set(method.state_dict())
    progress = Progress(50, 100, 10.0)
    result = method(make_views(POLICY.with_views((2, 1), (8, 8))), progress)
    assert ("term_augself" in result.metrics) is not method.looks_only(progress)
    if method.looks_only(progress):
        return
    parts = result.metrics["method_loss"] + 3 * result.metrics["term_augself"]
    torch.testing.assert_close(result.loss.detach(), parts, equal_nan=name == "instdisc")
    result.loss.backward()
    heads = [p for key, p in method.named_parameters() if key.startswith("terms.0.heads.")]
    assert len(heads) == 2 * 8
    assert all(p.grad is not None and p.grad.any() for p in heads[::8])


def test_features_of_patches_are_no_views() -> None:
    """Fast-MoCo's are refused before a run."""
    backbone = create_backbone("resnet10", width=0.125, stem="small")
    method = create_method("fastmoco", backbone, TOY["fastmoco"])
    with pytest.raises(UsageError, match=r"needs features .* got none from FastMoCo"):
        add_terms(method, read_terms([AUGSELF]), POLICY.with_views((2, 1), (16, 8)))


@pytest.mark.parametrize(("name", "columns"), [("mocov1", (0, 1, 3)), ("ressl", (1, 2, 3))])
def test_a_term_is_told_which_views_were_seen(name: str, columns: tuple[int, ...]) -> None:
    """Those of the trained network: without MoCo's last global view, without ReSSL's first."""
    told: list[Any] = []

    class Listens(Term):
        needs = ("features",)

        def forward(self, seen: Seen) -> torch.Tensor:
            told.append(seen)
            return seen.parts["features"].mean()

    method = create_method(name, create_backbone("resnet10", width=0.125, stem="small"), TOY[name])
    policy = POLICY.with_views((3, 1), (8, 8))
    method.terms = Terms(read_terms(["augself"]), [Listens()], 0)
    method(make_views(policy), Progress(50, 100, 10.0))
    assert (told[0].columns, told[0].num_global) == (columns, 2)
    assert len(told[0].parts["features"]) == 3


def test_a_term_without_weight_changes_no_weight(shard_folder: Path, tmp_path: Path) -> None:
    """A run with it has bit for bit the run's own weights, names and momenta beside the term's."""
    ends = []
    for folder, terms in (("plain", []), ("beside", [{**AUGSELF, "weight": 0.0}])):
        train(with_terms(shard_folder, terms), tmp_path / folder)
        state = final_state(tmp_path / folder)["method"]
        ends.append({k: v for k, v in state.items() if not k.startswith("terms.")})
    assert_equal(*ends)
    assert "terms" not in (tmp_path / "plain" / "config.yaml").read_text()


def test_a_run_with_terms_continues_exactly(shard_folder: Path, tmp_path: Path) -> None:
    """By the command: losses, the terms' layers and their momenta; its records name the term."""
    config = with_terms(shard_folder, [AUGSELF], **EVERY)
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    whole = tmp_path / "whole"
    assert run(["--config", str(tmp_path / "mine.yaml"), "--out", str(whole)]) == 0
    again = cut(whole, tmp_path / "again", 3)
    assert run(["--out", str(again), "--resume"]) == 0
    assert losses(again) == losses(whole)
    ends = final_state(again), final_state(whole)
    assert any(key.startswith("terms.0.heads.crop") for key in ends[0]["method"])
    assert_equal(*ends)
    told = [record["term_augself"] for record in read_metrics(whole) if "loss" in record]
    assert len(set(told)) == 6


def test_another_weight_is_another_run(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A term that is changed, or left out, is refused when a run goes on."""
    train(with_terms(shard_folder, [AUGSELF]), tmp_path / "r")
    for terms in ("[{name: augself, hidden_dim: 8, weight: 2}]", "[]"):
        assert run(["--out", str(tmp_path / "r"), "--resume", f"method.terms={terms}"]) == 2
        error = capsys.readouterr().err
        assert "continues with the config it began with, got method.terms: " in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--terms", "augsel"], "unknown term 'augsel'; did you mean augself?"),
        (["--terms", "augself,augself"], "a run has a term once, got 'augself'"),
        (["method.terms=[{name: augself, weights: 1}]"], "'weights' in method.terms[0]; did you"),
        (["method.terms=[{name: augself, weight: -1}]"], "a term's weight is not negative, got -1"),
        (["method.terms=[{name: augself, blur: 1}]"], "augself tells blur where blur differs"),
        (["--terms", "hsic", "loop.accumulate=2"], "whose loss has its kernel from all images"),
        (["--terms", "augself", "policy.jitter=0"], "augself tells color where jitter differs"),
        (
            ["--terms", "augself", "--method", "mocov2", "method.groups=2"],
            "needs 2 global views that the trained network sees, got 1 from MoCo",
        ),
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


OWN = '''"""Predictions are short."""
from dataclasses import dataclass
from trainer.terms.term import Term

@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    power: float = 2.0

class Short(Term):
    needs = ("predictions", "projections")

    def __init__(self, settings):
        super().__init__()
        self.power = settings.power

    def forward(self, seen):
        assert seen.parts["projections"].shape == seen.parts["predictions"].shape
        return seen.parts["predictions"].abs().pow(self.power).mean()

class Waits(Term):
    needs = ("momentum_features", "queue")
'''


def test_a_term_of_ones_own_comes_by_the_same_door(
    shard_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its file is told; what it needs is checked; who exports the encoder needs no such file."""
    (tmp_path / "own_short.py").write_text(OWN)
    (tmp_path / "t.yaml").write_text(to_yaml(tiny_config(shard_folder, "simsiam", **LENGTH)))
    monkeypatch.chdir(tmp_path)
    words = ["--config", "t.yaml", "--out", "r"]
    assert run([*words, "--terms", "own_short:Waits"]) == 2
    assert "term own_short:Waits needs momentum features" in capsys.readouterr().err
    own = "method.terms=[{name: 'own_short:Short', power: 3, weight: 0.5}]"
    assert run([*words, own]) == 0
    assert f"term own_short:Short from {tmp_path}/own_short.py (sha256 " in capsys.readouterr().err
    assert all("term_Short" in x for x in read_metrics(Path("r")) if "loss" in x)
    (tmp_path / "own_short.py").unlink()
    sys.modules.pop("own_short")
    assert export(["r", "--out", "e.safetensors"]) == 0


def test_terms_are_written_out() -> None:
    """A name alone means all of its defaults, which no other release can change."""
    method = {"name": "simsiam", "terms": "augself"}
    (term,) = resolve({"method": method}).method.terms
    assert isinstance(term, dict)
    assert term == {
        "name": "augself", "weight": 1.0, "crop": 1.0, "color": 1.0, "flip": 0.0, "blur": 0.0,
        "hidden_dim": 512,
    }  # fmt: skip
