import dataclasses
import importlib
import json

import pytest
import torch

from trainer.losses.cosine import byol_loss
from trainer.losses.kernels import launch

CPU = torch.device("cpu")


@pytest.fixture
def losses():
    """benchmarks/losses/forms.py as a module; what it needs of Triton is there on Linux only."""
    pytest.importorskip("triton")
    return importlib.import_module("benchmarks.losses.forms")


@pytest.fixture
def small(losses):
    """BYOL on two views of 8 images."""
    problems = importlib.import_module("benchmarks.losses.loss_problems")
    shapes = ((2, 8, 16), (2, 8, 16))
    return problems.Problem("small", shapes, lambda p, z, impl: byol_loss(p, z, impl))


def test_peak_is_the_most_that_is_held_at_once():
    """Of three tensors of 4 MB two are alive together, and one that is returned counts."""
    peak = importlib.import_module("benchmarks.losses.peak_memory").peak_bytes

    def one_after_the_other():
        torch.ones(1_000_000).add_(1)
        return torch.ones(1_000_000) + torch.ones(1)

    assert peak(one_after_the_other, CPU) == pytest.approx(8_000_004, abs=256)
    assert peak(lambda: torch.ones(250_000), CPU) == pytest.approx(1_000_000, abs=256)


def test_launches_are_kernels_and_operators_that_compute(losses):
    """A view, an empty tensor and an inquiry are free; a kernel of ours is one launch."""
    count = losses.count_launches
    x = torch.empty(4, 6)
    assert count(lambda x: x.T.reshape(2, 12)[0], x) == 1  # the copy that reshape makes
    assert count(lambda x: (x + 1).sum(), x) == 2
    start = launch.start
    p, z = torch.empty(2, 2, 3, 8)
    # One kernel, and one sum of what it wrote; then mean and scale.
    fused = count(lambda p, z: byol_loss(p, z, "fused"), p, z)
    assert 3 <= fused <= 6
    assert fused < count(lambda p, z: byol_loss(p, z, "torch"), p, z)
    assert launch.start is start


def test_every_form_is_measured_and_held_to_the_truth(losses, small, monkeypatch):
    """Each has its figures; one that cannot run or is wrong is named, and not timed."""
    monkeypatch.setattr(torch, "compile", lambda form: form)
    found = losses.measure_problem(small, CPU, 0.01, 2)
    assert set(found["forms"]) == {"eager", "compiled", "fused"}
    for row in found["forms"].values():
        assert row["ms"] > 0
        assert row["peak_mb"] > 0
        assert row["errors"]["gradient"] < losses.MAX_GRADIENT_ERROR
    assert found["forms"]["fused"]["launches"] < found["forms"]["eager"]["launches"]

    def broken(p, z):
        raise NotImplementedError("not on this device\nat all")

    small.others["public"] = broken
    found = losses.measure_problem(small, CPU, 0.01, 2)
    assert found["failed"] == {"public": "NotImplementedError: not on this device"}
    monkeypatch.setattr(torch, "compile", lambda form: lambda p, z: 1.01 * form(p, z))
    found = losses.measure_problem(small, CPU, 0.01, 2)
    assert set(found["forms"]) == {"eager", "fused"}
    assert "compiled of small" in found["failed"]["compiled"]


def test_a_wrong_loss_leaves_the_others_their_figures(losses, small, monkeypatch, tmp_path, capsys):
    """Its reason stands in the file, where the next one's figures stand too; the exit code is 1."""
    monkeypatch.setattr(torch, "compile", lambda form: form)

    def wrong(p, z, impl):
        return byol_loss(p, z, impl) * (1.01 if impl == "fused" else 1)

    problems = {"wrong": dataclasses.replace(small, loss=wrong), "right": small}
    monkeypatch.setattr(losses, "PROBLEMS", problems)
    out = tmp_path / "losses.json"
    assert losses.main(["--seconds", "0.01", "--rounds", "1", "--out", str(out)]) == 1
    report = json.loads(out.read_text())
    assert set(report["problems"]) == {"right"}
    assert "fused of small" in report["failed"]["wrong"]
    assert "wrong: DataError" in capsys.readouterr().err


def test_chosen_problems_are_added_to_the_file(losses, small, monkeypatch, tmp_path, capsys):
    """--only leaves the other problems' figures; an unknown one is a line."""
    monkeypatch.setattr(torch, "compile", lambda form: form)
    monkeypatch.setattr(losses, "PROBLEMS", {"one": small, "two": small})
    out = tmp_path / "losses.json"
    for name in ("one", "two"):
        arguments = ["--only", name, "--seconds", "0.01", "--rounds", "1", "--out", str(out)]
        assert losses.main(arguments) == 0
    report = json.loads(out.read_text())
    assert set(report["problems"]) == {"one", "two"}
    assert report["conditions"]["device"] == "cpu"
    assert losses.main(["--only", "three", "--out", str(out)]) == 2
    assert "known: one, two" in capsys.readouterr().err
