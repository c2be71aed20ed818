"""Fine-tuning: which labels, in which order, and what the command leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny_config

from augengine.loader.center_plan import center_plan
from augengine.views import Views
from shards.errors import UsageError
from shards.format import NO_LABEL
from trainer.eval.finetune import fit, score
from trainer.eval.subset import SubsetOrder, label_subset
from trainer.evaluate import main as evaluate
from trainer.nets.classifier import Classifier, load_classifier
from trainer.train import train

LABELS = np.array([0] * 30 + [1] * 45 + [2] * 5 + [NO_LABEL] * 6 + [-7] * 3)


@pytest.mark.parametrize(("share", "counts"), [
    (0.01, [1, 1, 1]), (0.1, [3, 5, 1]), (0.5, [15, 23, 3]), (1.0, [30, 45, 5]),
])  # fmt: skip
def test_every_class_gives_its_share(share: float, counts: list[int]) -> None:
    """Rounded up, so none is left out; images without a label never are in it."""
    ids = label_subset(LABELS, share)
    assert np.bincount(LABELS[ids]).tolist() == counts  # refuses what is below zero
    assert (np.diff(ids) > 0).all()


def test_subsets_are_nested_and_follow_the_seed() -> None:
    """1 % is in 10 % is in all of it; the same seed draws the same images, another others."""
    parts = [set(label_subset(LABELS, share).tolist()) for share in (0.01, 0.1, 0.5, 1)]
    assert parts[0] < parts[1] < parts[2] < parts[3]
    assert set(label_subset(LABELS, 0.5).tolist()) == parts[2]
    assert set(label_subset(LABELS, 0.5, seed=1).tolist()) != parts[2]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError, match=r"labels lies in \(0, 1\], got"):
        label_subset(LABELS, share)


def test_order_goes_through_the_subset_and_nothing_else() -> None:
    """Each epoch is another permutation of the ids; a bad one is replaced by another of them."""
    ids = np.array([40, 3, 17, 8, 90])
    order = SubsetOrder(ids, seed=5)
    epochs, seen = order(np.arange(50))
    rounds = seen.reshape(10, 5)
    assert (np.sort(rounds, axis=1) == np.sort(ids)).all()
    assert len({tuple(r) for r in rounds.tolist()}) > 3
    assert epochs.tolist() == np.repeat(np.arange(10), 5).tolist()
    for attempt in range(4):
        others = order.substitute(epochs, seen, attempt)
        assert np.isin(others, ids).all()
        assert (others != seen).all()


class Loader:
    """The same batch again and again: 16 images in two classes told apart by their brightness."""

    def __init__(self, make_views) -> None:
        crops = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        labels = np.arange(16, dtype=np.int32) % 2
        crops += torch.from_numpy(labels).view(-1, 1, 1, 1)
        self.views = Views((crops,), np.arange(16), labels, make_views(16))

    def __next__(self) -> Views:
        return self.views


def plan(batch_size: int):
    """A plan that does nothing, as the classifier looks at crops only."""
    sizes = np.full((batch_size, 2), 8)
    return center_plan(np.arange(batch_size), sizes, 8, (0, 0, 0), (1, 1, 1))


def test_fit_trains_every_part_and_score_counts() -> None:
    """A frozen encoder is thawed; after training the images are told apart."""
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 8), torch.nn.ReLU())
    encoder.feature_dim = 8  # type: ignore[assignment]
    classifier = Classifier(encoder.requires_grad_(False), torch.nn.Sequential(), 2)
    before = encoder[1].weight.clone()
    loader = Loader(plan)
    assert score(classifier, [loader.views], torch.device("cpu")) == (0.5, 16)
    fit(classifier, loader, 30, 0.1, torch.device("cpu"))
    assert score(classifier, [loader.views], torch.device("cpu")) == (1.0, 16)
    assert not torch.equal(encoder[1].weight, before)
    assert classifier.training


@pytest.mark.parametrize("layers", [0, 1])
def test_the_command_leaves_a_classifier(
    layers: int, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RUN/finetuned-SHARE.pt scores what was printed, and a second time gives the same."""
    run, scores = tmp_path / "run", tmp_path / "scores.json"
    evaluation = {"data": str(shard_folder), "every_epochs": 100.0, "batch_size": 16}
    loop = {"epochs": 0.5, "batch_size": 8}
    config = tiny_config(shard_folder, "byol", loop=loop, eval=evaluation)
    train(config, run)
    argv = [str(run), "--finetune", "0.5", "--finetune-epochs", "2", "--json", str(scores)]
    argv += ["--head-layers", str(layers)]
    assert evaluate(argv) == 0
    found = json.loads(scores.read_text())["finetune"]
    # 13 + 12 + 12 images in three classes: 7 + 6 + 6.
    assert (found["images"], found["head_layers"], found["epochs"]) == (19, layers, 2.0)
    assert f"{found['accuracy']:.1%} top-1 on 37 held-out images" in capsys.readouterr().out
    weights = load_classifier(run / "finetuned-0.5.pt").state_dict()
    assert evaluate(argv) == 0
    again = load_classifier(run / "finetuned-0.5.pt").state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert any(name.startswith("neck") for name in weights) == bool(layers)


def test_too_many_head_layers_are_refused(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the limit, before any training."""
    evaluation = {"data": str(shard_folder), "every_epochs": 100.0, "batch_size": 16}
    loop = {"epochs": 0.5, "batch_size": 8}
    train(tiny_config(shard_folder, "byol", loop=loop, eval=evaluation), tmp_path / "run")
    assert evaluate([str(tmp_path / "run"), "--finetune", "1", "--head-layers", "2"]) == 2
    assert "projector are 0 to 1, got 2; lower --head-layers" in capsys.readouterr().err
