"""A labelled pair beside unlabelled training, and the probe on it: a curve that costs no bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import assert_equal, cut, final_state
from tiny_run import tiny_config
from tiny_sets import write_set

from shards.errors import DataError, UsageError
from trainer.build import build_parts
from trainer.config import TrainConfig
from trainer.eval.features import Features
from trainer.eval.online_probe import online_probe
from trainer.fitted import pace
from trainer.recipes.recipe import resolve
from trainer.record.jsonlines import read_lines
from trainer.record.log import read_metrics
from trainer.record.samplelog import describe_bad_samples
from trainer.train import train

pytestmark = pytest.mark.usefixtures("weighed_once")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlabelled images, and a labelled pair of which one image is torn."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / "web", [None] * 20, seed=1)
    for name, count, seed, torn in (("train", 30, 2, [4]), ("val", 12, 3, [])):
        labels, looks = [i % 3 for i in range(count)], [i % 4 for i in range(count)]
        write_set(folder / name, labels, looks, seed=seed, torn=torn)
    return folder


def config_of(sets: Path, **evaluation: Any) -> TrainConfig:
    data = {"train": str(sets / "web"), "backend": "kornia", "decoder": "pillow", "workers": 1}
    run = {"log_every": 1, "keep": 100, "device": "cpu", "save_every_steps": 1}
    pair = {"data": str(sets / "val"), "train": str(sets / "train"), "k": 3, "every_epochs": 0.8}
    loop = {"epochs": 2, "batch_size": 8}
    changes = {"data": data, "run": run, "loop": loop, "eval": pair | evaluation}
    return tiny_config(sets, "simsiam", **changes)


def losses(run: Path) -> dict[int, float]:
    return {r["step"]: r["loss"] for r in read_metrics(run) if "loss" in r}


def curve(run: Path) -> list[tuple[int, float, float | None]]:
    return [(r["step"], r["knn"], r.get("probe")) for r in read_metrics(run) if "knn" in r]


def test_a_probe_tells_what_a_linear_map_can_tell() -> None:
    """Classes in far corners, whatever their numbers and the features' scales; a constant too."""
    torch.manual_seed(0)
    labels = torch.tensor([2, 7, 40]).repeat(40)
    corners = torch.randn(3, 8)[torch.arange(120) % 3] + 0.1 * torch.randn(120, 8)
    values = corners * torch.tensor([1e-3, 1, 1e3, 1, 1, 1, 1, 0.0])
    train, test = Features(values[:90], labels[:90]), Features(values[90:], labels[90:])
    assert online_probe(train, test) == 1.0
    shuffled = Features(train.values, labels[:90][torch.randperm(90)])
    assert (online_probe(shuffled, test) or 0.0) < 0.8


def test_a_probe_draws_nothing_and_stops_when_told() -> None:
    """Torch's random state and the features stay; the same features give the same score."""
    torch.manual_seed(0)
    features = Features(torch.randn(60, 5), torch.arange(60) % 4)
    kept, state = features.values.clone(), torch.get_rng_state()
    scores = {online_probe(features, features) for _ in range(2)}
    assert len(scores) == 1
    assert torch.equal(features.values, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert online_probe(features, features, stop=lambda: True) is None


def test_the_encoder_is_the_same_with_and_without(sets: Path, tmp_path: Path) -> None:
    """Losses, weights and optimizer bit for bit; the curve has a point at every score."""
    train(config_of(sets, probe=True), tmp_path / "with")
    train(config_of(sets), tmp_path / "without")
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    ends = final_state(tmp_path / "with"), final_state(tmp_path / "without")
    for end in ends:
        del end["config"]
    assert_equal(*ends)
    points = curve(tmp_path / "with")
    assert [step for step, _, _ in points] == [0, 2, 4, 5]
    assert len({probe for _, _, probe in points} - {None}) > 1
    assert [point[:2] for point in points] == [p[:2] for p in curve(tmp_path / "without")]
    records = [r for r in read_metrics(tmp_path / "with") if "probe" in r]
    assert all(0 < r["probe_s"] <= r["eval_s"] for r in records)
    assert all("L-BFGS of 50 iterations" in r["probe_protocol"] for r in records)


def test_a_continued_run_repeats_the_curve(sets: Path, tmp_path: Path) -> None:
    """A probe is fitted anew at every score, so none depends on those before."""
    whole = tmp_path / "whole"
    train(config_of(sets, probe=True), whole)
    for step in (1, 3, 4):
        run = cut(whole, tmp_path / f"cut-{step}", step)
        train(config_of(sets, probe=True), run, resume=True)
        assert curve(run) == curve(whole)


def test_other_images_may_be_labelled(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What votes is eval.train, told in the protocol; a bad image of it is listed as such."""
    run = tmp_path / "run"
    train(config_of(sets), run)
    said = capsys.readouterr().err
    assert "29 training and 12 held-out images" in said
    record = next(r for r in read_metrics(run) if "knn" in r)
    assert "labelled set " in record["knn_protocol"]
    lines = read_lines(run / "bad-samples-rank0.jsonl")
    assert {(line["data"], line["id"]) for line in lines} == {("eval.train", 4)}
    assert "(1 of the evaluation data)" in str(describe_bad_samples(run))


def test_held_out_images_that_are_trained_on_are_told(sets: Path) -> None:
    """Without their labels too, although others vote."""
    data = {"train": str(sets / "val"), "backend": "kornia", "decoder": "pillow"}
    loop = {"epochs": 20, "batch_size": 2}
    pair = {"data": str(sets / "val"), "train": str(sets / "train"), "k": 3}
    parts = build_parts(tiny_config(sets, "simsiam", data=data, loop=loop, eval=pair))
    assert parts.warnings == (
        "12 of 12 evaluation images are among those that the encoder is trained on, without "
        "their labels; evaluate on others",
    )


def test_what_has_nothing_to_score_is_refused(sets: Path) -> None:
    """eval.train or eval.probe without eval.data; labels that nobody has."""
    for wrong in ({"train": "x"}, {"probe": True}):
        with pytest.raises(UsageError, match=r"about the images of eval\.data.*--eval-data"):
            resolve({"eval": wrong})
    with pytest.raises(DataError, match=r"got none in .*/web; .*--eval-train"):
        build_parts(config_of(sets, train=None))


def test_minutes_have_room_for_the_probe(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is measured, once, and counted for every score of a fitted run."""
    monkeypatch.setattr(pace, "_probe_s", lambda knn, parts: 100.0)
    without, counted = (
        pace._eval_s(build_parts(config_of(sets, probe=probe)), 50.0) for probe in (False, True)
    )
    assert counted - without == pytest.approx(300)
