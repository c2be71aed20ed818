import importlib
import json
import subprocess
from pathlib import Path

import pytest
import torch

from tools import profile_augment
from trainer import run

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STEPS = ["photographs", "parity", "profile dali", "profile kornia", "swav bf16"]
STEPS += ["resident", "loss parity", "losses"]


@pytest.fixture
def check(monkeypatch):
    """benchmarks/gpu_check.py as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_check")


@pytest.fixture
def steps(check, monkeypatch):
    """benchmarks/gpu_steps.py, where DALI is not installed and fused is unknown."""
    module = importlib.import_module("gpu_steps")
    monkeypatch.setattr(module, "BACKENDS", ("dali", "kornia"))
    monkeypatch.setattr(module, "has_dali", lambda: False)
    monkeypatch.setattr("augengine.decoders.table.has_dali", lambda: False)
    return module


def ended(returncode, stdout=""):
    return subprocess.CompletedProcess([], returncode, stdout, "")


def in_this_process(commands, module, *arguments):
    """Stands in for a process: the real commands, but for pytest inside pytest."""
    arguments = [str(argument) for argument in arguments]
    commands.setdefault(module, arguments)  # the first one
    commands.setdefault("tests", []).extend(a for a in arguments if a.startswith("tests/"))
    if module == "pytest":
        return ended(0, "...s\n3 passed, 1 skipped, 9 deselected in 0.1s\n")
    if module == "benchmarks/losses.py":  # which compiles for half a minute
        Path(arguments[arguments.index("--out") + 1]).write_text('{"problems": {}}')
        return ended(0)
    mains = {
        "tools.profile_augment": profile_augment.main,
        "trainer.run": run.main,
        "benchmarks/resident.py": importlib.import_module("resident").main,
    }
    return ended(mains[module](arguments))


def test_without_a_gpu_it_refuses_in_one_line(check, monkeypatch, tmp_path, capsys):
    """Exit code 2, what to do instead, and no file."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check.main(["--out", str(tmp_path / "gpu.json")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--device cpu" in error
    assert not list(tmp_path.iterdir())


def test_a_file_is_named_after_the_gpu(check, monkeypatch):
    """NVIDIA H200 -> nvidia-h200; a trial on the CPU has a name of its own."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200 (SXM)")
    assert check._slug("cuda") == "nvidia-h200-sxm"
    assert check._slug("cpu") == "cpu-trial"


def test_a_folder_for_the_figures_is_asked_for_before_any_work(check, capsys):
    """Exit code 2 before anything is timed."""
    assert check.main(["--device", "cpu", "--out", "/no/such/folder/gpu.json"]) == 2
    assert "folder that exists" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trial_on_the_cpu_goes_through_every_step(check, steps, monkeypatch, tmp_path, capsys):
    """All figures are there; DALI, which is missing, is left out and so are its parity tests."""
    commands = {}
    monkeypatch.setattr(steps, "_run", lambda *command: in_this_process(commands, *command))
    out = tmp_path / "trial.json"
    assert check.main(["--device", "cpu", "--out", str(out)]) == 0, capsys.readouterr().out
    report = json.loads(out.read_text())
    results = report["results"]
    assert list(results) == STEPS
    assert results["profile dali"]["status"] == "left out"
    assert results["profile dali"]["reason"] == "not installed"
    assert all(results[name]["status"] == "passed" for name in STEPS if name != "profile dali")
    assert (results["parity"]["passed"], results["parity"]["skipped"]) == (3, 1)
    assert results["parity"]["not_installed"] == ["dali"]
    assert "not dali and not gpu_decodes" in commands["pytest"][-1]
    assert commands["tests"] == ["tests/augengine", "tests/trainer/losses"]
    assert results["resident"]["real_over_resident"]["median"] > 0
    assert results["losses"]["problems"] == {}
    assert commands["benchmarks/losses.py"][-2:] == ["--only", "byol"]
    assert results["profile kornia"]["decoder"] == "pillow"
    rows = results["profile kornia"]["results"]
    assert rows["end to end, kornia"]["images_per_s"] > 0
    swav = results["swav bf16"]
    assert swav["images_per_s"]["min"] > 0
    assert 0 <= swav["data_wait"]["median"] <= 1
    assert (swav["backend"], swav["steps"]) == ("kornia", 4)
    assert "loop.precision=bf16" in commands["trainer.run"]
    assert report["conditions"]["versions"]["torch"]


def test_a_failed_step_keeps_its_reason_and_the_rest_runs(check, monkeypatch, tmp_path):
    """Each result is in the file before the next step begins; the exit code is 1."""
    out, seen = tmp_path / "trial.json", []

    def step(figures=None, error=None):
        def call():
            seen.append(list(json.loads(out.read_text())["results"]) if out.exists() else [])
            if error is not None:
                raise error
            return figures

        return call

    fakes = {
        "a": step(error=check.StepError("lost its way", "first\nlast")),
        "b": step(error=KeyError("images")),
        "c": step("no kernel yet"),
        "d": step({"images_per_s": 5}),
    }
    monkeypatch.setattr(check, "all_steps", lambda *_: fakes)
    assert check.main(["--device", "cpu", "--out", str(out)]) == 1
    assert seen == [[], ["a"], ["a", "b"], ["a", "b", "c"]]
    results = json.loads(out.read_text())["results"]
    assert [result["status"] for result in results.values()] == [
        "failed",
        "failed",
        "left out",
        "passed",
    ]
    assert results["a"]["reason"] == "lost its way"
    assert results["a"]["tail"] == ["first", "last"]
    assert results["b"]["reason"] == "KeyError: 'images'"
    assert results["d"]["images_per_s"] == 5
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("returncode", "output", "counts"),
    [
        (1, "FAILED a\n1 failed, 2 passed in 3.0s\n", "2 passed, 1 failed, 0 error"),
        (2, "ERROR b\n2 errors in 3.0s\n", "0 passed, 0 failed, 2 error"),
        (0, "5 skipped, 9 deselected in 3.0s\n", "0 passed, 0 failed, 0 error, 5 skipped"),
        (-11, "", "killed by signal 11"),
    ],
)
def test_parity_fails_unless_tests_ran_and_passed(steps, monkeypatch, returncode, output, counts):
    """A failure, an error, nothing but skips and a crash are told apart; the end is kept."""
    monkeypatch.setattr(steps, "_run", lambda *_: ended(returncode, output))
    with pytest.raises(steps.StepError, match=counts) as failure:
        steps.all_steps(steps.FULL, "cuda", Path("data"))["parity"]()
    assert failure.value.tail == output.splitlines()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time; time.sleep(9)", "at most 1 s"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("raise ValueError(7)", "ValueError: 7; exit code 1"),
    ],
)
def test_a_command_that_ends_badly_says_how(steps, monkeypatch, code, reason):
    """Too long, killed, or with an error: a StepError that names it."""
    monkeypatch.setattr(steps, "COMMAND_LIMIT_S", 1)
    with pytest.raises(steps.StepError, match=reason):
        steps._succeed("timeit", "-n1", "-r1", code)


def test_fused_on_cuda_needs_triton_alone(steps, monkeypatch):
    """On CUDA the fused backend is profiled where Triton is, and numba does not matter."""
    there = {"triton"}
    monkeypatch.setattr("augengine.backends.table.find_spec", lambda name: name in there or None)
    assert steps._why_absent("fused", "cuda") is None
    assert steps._why_absent("fused", "cpu") == "not installed"
    there.clear()
    assert steps._why_absent("fused", "cuda") == "not installed"
