"""What a report shows is what the run wrote down, and what its encoder gives."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reported_run import MEASURES, NAMES, records, reported_run, write_lines

from shards.index import ShardIndex
from trainer.embed.__main__ import main as embed
from trainer.embed.feature_table import read_features
from trainer.encoders.load_encoder import run_encoder
from trainer.eval.knn import knn_predict
from trainer.recipes.recipe import read_recipe, resolve, to_yaml
from trainer.record.starts import head_of
from trainer.report.__main__ import main
from trainer.report.charts import MOST_POINTS, thinned
from trainer.report.embedding_map import in_unit_square, principal_plane, umap_plane
from trainer.report.held_out import class_scores, look_at_held_out
from trainer.report.markup import duration, percent, plain
from trainer.report.run_record import read_run
from trainer.report.seen_views import views_seen
from trainer.report.time_panel import times_of
from trainer.report.what_was_run import differing_keys
from trainer.settings.strict import merge

CPU = torch.device("cpu")


def page_of(run: Path, *flags: str) -> str:
    assert main([str(run), *flags]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """The words of a page, without what a browser does not show."""
    page = re.sub(r"<(style|script|title)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"[ \n]+", " ", re.sub(r"<[^>]*>", " ", page))


def panel(page: str, id: str) -> str:
    return text_of(page.partition(f'id="{id}"')[2].partition("</section>")[0])


def test_the_last_values_are_those_of_the_records(tmp_path: Path) -> None:
    """Loss, constant loss, scores, measures, times: each as metrics.jsonl has it, in its panel."""
    run, _ = reported_run(tmp_path)
    page = page_of(run, "--records-only")
    last = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        last |= json.loads(line)
    assert f"Loss {plain(last['loss'])}" in panel(page, "learning")
    assert f"Teacher&#x27;s momentum {last['momentum']}" in panel(page, "learning")
    assert f"kNN {percent(last['knn'])}" in panel(page, "scores")
    assert f"Linear probe {percent(last['probe'])}" in panel(page, "scores")
    shown = panel(page, "measures")
    for name, form in (("rankme", ".1f"), ("alpha_req", ".2f"), ("uniformity", ".2f")):
        assert plain(MEASURES[name], form) in shown
    words = text_of(page)
    assert f"{percent(0.25)} before training" in words
    assert f"{plain(last['constant_loss'])} of a constant output" in words
    assert f"together {duration(49.0)}" in panel(page, "time")


def test_times_are_taken_apart(tmp_path: Path) -> None:
    """Training, waiting, kNN, probe and measures together are the whole; a probe counts once."""
    times = times_of(read_run(reported_run(tmp_path)[0]))
    assert times is not None
    assert times.total == 49.0
    assert (times.knn, times.probe, times.label_free) == (4.0, 2.0, 2.0)
    assert times.waiting == pytest.approx(0.25 * 41.0)
    assert sum(seconds for _, seconds in times.parts()) == pytest.approx(times.total)


def test_scores_of_another_protocol_are_no_part_of_the_curve(tmp_path: Path) -> None:
    """A score of other images or another k is not drawn beside the last ones."""
    run, _ = reported_run(tmp_path)
    old = {"step": 20, "epoch": 1.0, "time_s": 9.0, "knn": 0.99, "knn_protocol": "k=1"}
    write_lines(run / "metrics.jsonl", [old, *records()])
    assert read_run(run).score_series("knn", "knn_protocol") == [(0.0, 0.25), (2.0, 0.4375)]


def test_neighbours_are_those_of_an_exact_comparison(tmp_path: Path) -> None:
    """Twelve held-out images; ids and cosines are as a plain product of all features gives them."""
    run, config = reported_run(tmp_path)
    encoder = run_encoder(run, config)
    found = look_at_held_out(config, encoder, 3, CPU, lambda share: None)
    tables = []
    for data in ("train", "val"):
        out = tmp_path / f"{data}.npy"
        flags = ["--data", str(tmp_path / data), "--out", str(out), "--dtype", "float32"]
        backend = ["--backend", "fused", "data.decoder=pillow"]
        assert embed([str(run), *flags, *backend]) == 0
        table = read_features(out)
        unit = np.array(table.features, np.float64)
        tables.append((table.ids, unit / np.linalg.norm(unit, axis=1, keepdims=True)))
    (ids, train), (queried, val) = tables
    assert len(found.queries) == 12
    assert {query.image.label for query in found.queries} == set(NAMES)
    for query in found.queries:
        cosines = train @ val[queried.tolist().index(query.id)]
        exact = np.sort(cosines)[::-1][: len(query.similarities)]
        np.testing.assert_allclose(query.similarities, exact, atol=1e-5)
        own = [cosines[ids.tolist().index(near)] for near in query.neighbour_ids]
        np.testing.assert_allclose(own, exact, atol=1e-5)
        assert len(set(query.neighbour_ids)) == len(query.neighbour_ids) == 8
    labels = [ShardIndex.open(tmp_path / data).labels(rows[0]) for data, rows in
              zip(("train", "val"), tables, strict=True)]  # fmt: skip
    said = knn_predict(
        torch.from_numpy(train).float(), torch.from_numpy(labels[0]).long(),
        torch.from_numpy(val).float(), k=5,
    ).numpy()  # fmt: skip
    assert found.knn == pytest.approx(float((said == labels[1]).mean()))


def test_classes_are_scored_one_by_one(tmp_path: Path) -> None:
    """Shares, counts, and the class that is said most in place of another; the best comes first."""
    index = ShardIndex.open(reported_run(tmp_path)[0].parent / "train")
    predicted, labels = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 0, 1, 1, 1, 2])
    scores = class_scores(index, predicted, labels)
    assert [score.accuracy for score in scores] == [1.0, 1.0, pytest.approx(1 / 3)]
    worst = scores[-1]
    assert (worst.name, worst.num_images) == (index.classes[1], 3)
    assert (worst.mistaken_for, worst.mistaken_share) == (index.classes[2], pytest.approx(2 / 3))
    assert scores[0].mistaken_for == ""


def test_the_views_are_those_of_the_first_batch(tmp_path: Path) -> None:
    """The samples are the first of the run's order, and the windows lie in their images."""
    _, config = reported_run(tmp_path)
    seen = views_seen(config)
    index = ShardIndex.open(tmp_path / "train")
    first = index.windowed_order(config.loop.seed, None)(np.arange(len(seen)))[1]
    assert [image.id for image in seen] == first.tolist()
    for image in seen:
        assert len(image.views) == 2
        for view in image.views:
            left, top, wide, tall = view.window
            assert 0 <= left <= left + wide <= 1.000001
            assert 0 <= top <= top + tall <= 1.000001
            assert view.pixels.shape == (32, 32, 3)


def test_heavy_views_are_shown_behind_the_others(tmp_path: Path) -> None:
    """One a view, with its source's window and what made it heavy in words."""
    _, config = reported_run(tmp_path)
    heavy = {"randaugment": {"num_ops": 1}}
    policy = replace(config.policy, changes={**config.policy.changes, "heavy": heavy})
    for image in views_seen(replace(config, policy=policy)):
        assert len(image.views) == 4
        for h, view in enumerate(image.views[2:]):
            assert view.window == image.views[h].window
            assert re.fullmatch(rf"heavy, of view {h + 1}: [a-z][a-z .0-9-]+", view.done)
    for image in views_seen(config):
        assert not any("heavy" in view.done for view in image.views)


def test_the_plane_is_that_of_most_variance() -> None:
    """Distances on the plane are those of features that lie on one; the share of variance is 1."""
    generator = np.random.default_rng(0)
    flat = generator.normal(size=(40, 2))
    axes = np.linalg.qr(generator.normal(size=(7, 2)))[0]
    places, share = principal_plane((flat @ axes.T).astype(np.float32))
    assert share == pytest.approx(1.0)

    def gaps(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - x, axis=2)

    np.testing.assert_allclose(gaps(places), gaps(flat), atol=1e-5)
    square = in_unit_square(places)
    assert square.min() >= 0
    assert square.max() <= 1


def test_equal_features_have_a_place(recwarn: pytest.WarningsRecorder) -> None:
    """A collapsed encoder's map is one point in the middle, without a warning."""
    places, share = principal_plane(np.ones((5, 3), np.float32))
    np.testing.assert_allclose(in_unit_square(places), 0.5)
    assert share == 0.0
    assert not recwarn.list


def test_umap_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed, its places are used, with a fixed seed; absent, there are none."""
    features = np.eye(12, dtype=np.float32)

    class Stand:
        def __init__(self, **settings: object) -> None:
            assert settings == {"n_components": 2, "metric": "cosine", "random_state": 0}

        def fit_transform(self, x: np.ndarray) -> np.ndarray:
            return x[:, :2] * 2

    module = type("module", (), {"UMAP": Stand})
    monkeypatch.setitem(__import__("sys").modules, "umap", module)
    np.testing.assert_array_equal(umap_plane(features), features[:, :2] * 2)
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    assert umap_plane(features) is None


def test_a_long_curve_is_thinned_by_means() -> None:
    """Ends stay, the middle is means of neighbours, a short curve is left alone."""
    points = [(float(i), float(i % 2)) for i in range(10_002)]
    thin = thinned(points)
    assert len(thin) == MOST_POINTS
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert max(abs(y - 0.5) for _, y in thin[1:-1]) < 0.05
    assert thinned(points[:10]) == points[:10]


def test_two_runs_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    """The keys that differ are named with both values, and no other."""
    first, _ = reported_run(tmp_path, "a")
    second, _ = reported_run(tmp_path, "b", loop={"seed": 7, "epochs": 8.65, "batch_size": 8})
    rows = differing_keys(read_run(first), read_run(second))
    assert rows == [("loop.seed", "0", "7")]
    assert main([str(first), str(second), "--records-only"]) == 0
    page = (first / "report.html").read_text(encoding="utf-8")
    assert "loop.seed 0 7" in panel(page, "run")
    assert f"Loss A {plain(3.0)} B {plain(3.0)}" in panel(page, "learning")


def test_an_optimizer_is_told_with_all_its_rates(tmp_path: Path) -> None:
    """Muon's momentum, and the rate of biases and norms beside that of matrices."""
    run, _ = reported_run(tmp_path)
    path = run / "config.yaml"
    values = merge(read_recipe(str(path)), {"optim": {"name": "muon", "base_lr_1d": 0.375}})
    path.write_text(head_of([]) + to_yaml(resolve(values)))
    told = panel(page_of(run, "--records-only"), "run")
    assert "muon" in told
    assert "base rate of biases and norms 0.375" in told
    assert f"momentum {values['optim']['momentum']}" in told
