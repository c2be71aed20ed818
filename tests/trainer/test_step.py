"""Between backward and the optimizer, and after the run: clipping, and who is scored."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from torch import nn

from trainer import checkpoint
from trainer.build import build_parts, open_loader
from trainer.config import LoopConfig
from trainer.eval.online import OnlineKnn, OnlineScore
from trainer.evaluate import main as evaluate
from trainer.step import clip_each, clip_gradients
from trainer.train import train


def with_gradients(*gradients: list[float] | None) -> nn.ParameterList:
    """Parameters with these gradients; None for one without."""
    parameters = nn.ParameterList()
    for gradient in gradients:
        parameter = nn.Parameter(torch.zeros(2))
        parameter.grad = None if gradient is None else torch.tensor(gradient)
        parameters.append(parameter)
    return parameters


def clipped(clip_norm: float | None, clip_each: bool) -> list[list[float]]:
    module = with_gradients([3.0, 4.0], None, [0.6, 0.8], [0.0, 12.0])  # norms 5, 1, 12
    clip_gradients(module, LoopConfig(clip_norm=clip_norm, clip_each=clip_each))
    return [p.grad.tolist() for p in module if p.grad is not None]


def test_clip_each_bounds_every_tensor() -> None:
    """Each tensor's own norm is brought down to 2 (DINO); a shorter one keeps its length."""
    got = clipped(2.0, clip_each=True)
    for gradient, expected in zip(got, ([1.2, 1.6], [0.6, 0.8], [0.0, 2.0]), strict=True):
        assert gradient == pytest.approx(expected, rel=1e-5)


def test_clip_each_is_torchs_of_each_alone() -> None:
    """Bit for bit, also of a gradient that is zero."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(9, 5, generator=generator) * s for s in (1.0, 0.01, 100.0, 0.0)]
    expected = []
    for gradient in gradients:
        parameter = nn.Parameter(gradient.clone())
        parameter.grad = gradient.clone()
        nn.utils.clip_grad_norm_([parameter], 2.0)
        expected.append(parameter.grad)
    clip_each(gradients, 2.0)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_clip_norm_bounds_all_together() -> None:
    """Without clip_each one factor brings the norm over all tensors, sqrt(170), down to 2."""
    factor = 2 / 170**0.5
    got = clipped(2.0, clip_each=False)
    assert got[0] == pytest.approx([3 * factor, 4 * factor], rel=1e-5)
    assert got[1] == pytest.approx([0.6 * factor, 0.8 * factor], rel=1e-5)


def test_no_clipping_unless_asked_for() -> None:
    """clip_norm null leaves every gradient as it is, whatever clip_each says."""
    assert clipped(None, clip_each=True) == [[3.0, 4.0], pytest.approx([0.6, 0.8]), [0.0, 12.0]]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_views_come_as_the_network_takes_them(
    shard_folder: Path, tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    """Under bf16 autocast in bf16; the kNN's, which has none, are float32 whatever it is."""
    config = tiny_config(
        shard_folder, loop={"precision": precision}, eval={"data": str(shard_folder), "k": 3}
    )
    parts = build_parts(config)
    with open_loader(parts, parts.timeline.cursor(0)) as loader:
        assert {crop.dtype for crop in next(loader).crops} == {dtype}
    assert parts.knn is not None
    views = next(iter(parts.knn.views(parts.knn.sets.train)))
    assert views.crops[0].dtype == torch.float32


def test_the_encoder_is_what_is_scored(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While training and afterwards: of DINO the teacher's backbone, not the student's."""
    scored: list[list[torch.Tensor]] = []
    score = OnlineKnn.__call__

    def score_and_keep(self: OnlineKnn, encoder: nn.Module, *rest: Any) -> OnlineScore:
        scored.append([p.detach().clone() for p in encoder.parameters()])
        return score(self, encoder, *rest)

    monkeypatch.setattr(OnlineKnn, "__call__", score_and_keep)
    config = tiny_config(
        shard_folder,
        "dino",
        loop={"epochs": 0.9, "batch_size": 8},
        eval={"data": str(shard_folder), "k": 3, "every_epochs": 10},
    )
    run = tmp_path / "run"
    train(config, run)
    state = checkpoint.load(checkpoint.find(run))
    teacher, student = (weights(state, prefix) for prefix in ("teacher_backbone.", "backbone."))
    assert any(not torch.equal(p, q) for p, q in zip(teacher, student, strict=True))
    assert all(torch.equal(p, q) for p, q in zip(scored[-1], teacher, strict=True))

    def scores(folder: str, *zeroed: str) -> list[dict[str, Any]]:
        """What `evaluate` prints for the run with some of its weights set to 0."""
        method = {
            key: torch.zeros_like(value) if key.startswith(zeroed) else value
            for key, value in state["method"].items()
        }
        changed = {**state, "method": method}
        path = checkpoint.save(
            tmp_path / folder, {k: v for k, v in changed.items() if k != "version"}, keep=1
        )
        out = tmp_path / f"{folder}.json"
        assert evaluate([str(run), "--checkpoint", str(path), "--k", "3", "--json", str(out)]) == 0
        return json.loads(out.read_text())["scores"]

    as_trained = scores("as_trained", "nothing")
    assert scores("student", "backbone.", "projector.") == as_trained
    assert scores("teacher", "teacher_backbone.") != as_trained


def weights(state: dict[str, Any], prefix: str) -> list[torch.Tensor]:
    """The backbone's weights under a prefix, without the batch norms' statistics."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return [
        value
        for key, value in state["method"].items()
        if key.startswith(prefix) and not key.endswith(statistics)
    ]
