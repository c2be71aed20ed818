import importlib
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import gpu_scale
from tools import profile_augment
from trainer import run

STEPS = ["photographs", "parity fused", "fused alone"]
STEPS += ["profile fused", "profile dali", "profile kornia"]
STEPS += ["resident", "decoders", "loss parity", "losses", "parity of the others", "swav bf16"]
STEPS += ["fast cifar10"]
TESTS = Path(__file__).parents[2]


@pytest.fixture
def check():
    """benchmarks/gpu/gpu_check.py as a module."""
    return importlib.import_module("benchmarks.gpu.gpu_check")


@pytest.fixture
def steps(check, monkeypatch):
    """benchmarks/gpu/gpu_steps.py, where neither DALI is installed nor what fused needs."""
    module = importlib.import_module("benchmarks.gpu.gpu_steps")
    monkeypatch.setattr(module, "has_dali", lambda: False)
    monkeypatch.setattr(module, "has_fused", lambda _: False)
    monkeypatch.setattr("augengine.decoders.create_decoder.has_dali", lambda: False)
    return module


@pytest.fixture
def command(check):
    """benchmarks/gpu/gpu_command.py as a module."""
    return importlib.import_module("benchmarks.gpu.gpu_command")


def ended(returncode, stdout=""):
    return subprocess.CompletedProcess([], returncode, stdout, "")


def in_this_process(commands, limit_s, module, *arguments):
    """Stands in for a process: the real commands, but for pytest inside pytest."""
    assert limit_s > 0
    arguments = [str(argument) for argument in arguments]
    commands.setdefault(module, arguments)  # the first one
    commands.setdefault("tests", []).extend(a for a in arguments if a.startswith("tests/"))
    if module == "pytest":
        return ended(0, "...s\n3 passed, 1 skipped, 9 deselected in 0.1s\n")
    if module == "benchmarks.losses.forms":  # which compiles for half a minute
        Path(arguments[arguments.index("--out") + 1]).write_text('{"problems": {}}')
        return ended(0)
    mains = {
        "tools.profile_augment": profile_augment.main,
        "trainer.run": run.main,
        "benchmarks.gpu.resident": importlib.import_module("benchmarks.gpu.resident").main,
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
    assert "in an existing folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trial_on_the_cpu_goes_through_every_step(
    check, steps, command, monkeypatch, tmp_path, capsys
):
    """All figures are there; DALI, which is missing, is left out and so are its parity tests."""
    commands = {}
    monkeypatch.setattr(command, "run", lambda *given: in_this_process(commands, *given))
    out = tmp_path / "trial.json"
    assert check.main(["--device", "cpu", "--out", str(out)]) == 0, capsys.readouterr().out
    report = json.loads(out.read_text())
    results = report["results"]
    assert list(results) == STEPS
    absent = ["parity fused", "fused alone", "profile fused", "profile dali", "decoders"]
    assert all(results[name]["reason"] == "not installed" for name in absent)
    assert results["fast cifar10"]["reason"].startswith("no CIFAR-10")
    absent.append("fast cifar10")
    statuses = {name: result["status"] for name, result in results.items()}
    assert statuses == {n: "left out" if n in absent else "passed" for n in STEPS}
    parity = results["parity of the others"]
    assert (parity["passed"], parity["skipped"], parity["not_installed"]) == (3, 1, ["dali"])
    assert commands["tests"] == [*gpu_scale.TRIAL.loss_tests, *steps.OTHER_TESTS]
    assert results["resident"]["real_over_resident"]["median"] > 0
    assert results["losses"]["problems"] == {}
    assert commands["benchmarks.losses.forms"][-2:] == ["--only", "byol"]
    profile = results["profile kornia"]
    assert (profile["decoder"], profile["settings"]["dtype"]) == ("pillow", "bfloat16")
    assert profile["results"]["end to end, kornia"]["images_per_s"] > 0
    swav = results["swav bf16"]
    assert swav["images_per_s"]["min"] > 0
    assert 0 <= swav["data_wait"]["median"] <= 1
    assert (swav["backend"], swav["steps"]) == ("kornia", 4)
    assert "loop.precision=bf16" in commands["trainer.run"]
    assert report["conditions"]["versions"]["torch"]


def step_of(check, call, limit_s=60):
    """A step that is `call()`."""
    return check.Step(limit_s, lambda _: call())


def raising(error):
    def call():
        raise error

    return call


def test_a_failed_step_keeps_its_reason_and_the_rest_runs(check, monkeypatch, tmp_path, capsys):
    """Each result is in the file before the next step begins; the exit code is 1."""
    out, seen = tmp_path / "trial.json", []

    def step(call):
        def look():
            seen.append(list(json.loads(out.read_text())["results"]) if out.exists() else [])
            return call()

        return step_of(check, look, 20)

    fakes = {
        "a": step(raising(check.StepError("lost its way", "first\nlast", passed=3))),
        "b": step(raising(KeyError("images"))),
        "c": step(lambda: "no kernel yet"),
        "d": step(lambda: {"images_per_s": 5}),
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
    assert results["a"]["passed"] == 3
    assert results["b"]["reason"] == "KeyError: 'images'"
    assert results["d"]["images_per_s"] == 5
    assert list(tmp_path.iterdir()) == [out]
    assert capsys.readouterr().out.count("at most 20 s ...") == 4


def test_the_time_is_shared_and_what_comes_after_it_is_left_out(check, monkeypatch, tmp_path):
    """A step gets what is left of --minutes at most; with next to nothing left none is begun."""
    now, limits = [0.0], []
    monkeypatch.setattr(check.time, "perf_counter", lambda: now[0])

    def spend(limit_s):
        limits.append(limit_s)
        now[0] += limit_s
        return {}

    fakes = {name: check.Step(50, spend) for name in "abc"}
    monkeypatch.setattr(check, "all_steps", lambda *_: fakes)
    out = tmp_path / "trial.json"
    assert check.main(["--device", "cpu", "--minutes", "1", "--out", str(out)]) == 0
    assert limits == [50, 10]
    result = json.loads(out.read_text())["results"]["c"]
    assert (result["status"], result["reason"]) == ("left out", "no time is left")


def test_some_steps_are_run_again_and_added_to_the_file(check, monkeypatch, tmp_path, capsys):
    """--only: the others' figures stay; what the chosen ones need runs too; a typo is a line."""
    fakes = {
        "photographs": step_of(check, lambda: {}),
        "a": step_of(check, raising(KeyError("images"))),
        "b": step_of(check, lambda: {"n": 1}),
    }
    monkeypatch.setattr(check, "all_steps", lambda *_: fakes)
    arguments = ["--device", "cpu", "--out", str(tmp_path / "trial.json")]
    assert check.main(arguments) == 1
    fakes["a"], fakes["b"] = step_of(check, lambda: {"n": 2}), step_of(check, raising(OSError()))
    assert check.main([*arguments, "--only", "a"]) == 0
    results = json.loads((tmp_path / "trial.json").read_text())["results"]
    assert [results[name].get("n") for name in fakes] == [None, 2, 1]
    assert check.main([*arguments, "--only", "c"]) == 2
    assert "known: photographs, a, b" in capsys.readouterr().err


def test_decoders_are_held_to_their_promises(tmp_path):
    """On the CPU, where it can be tried: Pillow's pixels in any batch, a rate, no GPU's bytes."""
    pytest.importorskip("nvidia.dali")
    decoders_gpu = importlib.import_module("benchmarks.gpu.decoders_gpu")
    out = tmp_path / "decoders.json"
    arguments = ["--device", "cpu", "--images", "4", "--rounds", "1", "--threads", "1"]
    assert decoders_gpu.main([*arguments, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["decoders"]
    assert list(found) == ["dali, host", "nvimgcodec, host"]
    for row in found.values():
        assert (row["differ_by_batch"], row["of"]) == (0, 4)
        assert row["mean_levels"] == row["max_levels"] == 0
        assert row["images_per_s"] > 0
        assert "gpu_mib_kept" not in row


def test_a_decoder_that_looks_at_the_batch_is_found_out(monkeypatch):
    """Pixels that differ by the place in a batch are counted."""
    decoders_gpu = importlib.import_module("benchmarks.gpu.decoders_gpu")
    pillow = decoders_gpu.create_decoder("pillow", "cpu")

    class Partial:
        name, device = "partial", torch.device("cpu")

        def __call__(self, encoded):
            images = pillow(encoded)
            images[0][0, 0, 0] ^= 1  # the first goes to an engine of its own
            return images

    jpegs = decoders_gpu.photograph_jpegs(3)
    assert decoders_gpu.figures(Partial(), jpegs)["differ_by_batch"] == 3


def test_all_fits_the_time_that_a_gpu_is_lent_for(steps):
    """What fills the tables comes first and is done in twelve minutes even at its slowest."""
    all_steps = steps.all_steps(gpu_scale.FULL, "cuda", Path())
    limits = {name: step.limit_s for name, step in all_steps.items()}
    assert list(limits) == STEPS
    assert sum(limits[name] for name in STEPS[: STEPS.index("resident") + 1]) <= 12 * 60


def test_every_test_for_a_gpu_is_in_a_step(steps):
    """Files are named, since to collect the others needs more than a GPU machine may have."""
    marked = {
        str(path.relative_to(TESTS.parent))
        for path in TESTS.rglob("test_*.py")
        if "mark.gpu" in path.read_text(encoding="utf-8") and path != Path(__file__)
    }
    assert marked == {*steps.FUSED_TESTS, *steps.OTHER_TESTS, *gpu_scale.LOSS_TESTS}


@pytest.mark.parametrize(
    ("returncode", "output", "counts"),
    [
        (1, "FAILED a\n1 failed, 2 passed in 3.0s\n", "2 passed, 1 failed, 0 error"),
        (2, "ERROR b\n2 errors in 3.0s\n", "0 passed, 0 failed, 2 error"),
        (0, "5 skipped, 9 deselected in 3.0s\n", "0 passed, 0 failed, 0 error, 5 skipped"),
        (-11, "", "killed by signal 11"),
    ],
)
def test_parity_fails_unless_tests_ran_and_passed(command, monkeypatch, returncode, output, counts):
    """A failure, an error, nothing but skips and a crash are told apart; the end is kept."""
    monkeypatch.setattr(command, "run", lambda *_: ended(returncode, output))
    with pytest.raises(command.StepError, match=counts) as failure:
        command.pass_tests(9, "gpu", "", "tests")
    assert failure.value.tail == output.splitlines()
    assert failure.value.figures["named"] == re.findall("(?:FAILED|ERROR) .", output)


@pytest.mark.slow
def test_tests_that_take_too_long_leave_what_they_found(command, tmp_path):
    """Those that passed and failed by then are counted, the failed ones named."""
    (tmp_path / "test_slow.py").write_text(
        "import pytest, time\n"
        "@pytest.mark.parametrize('k', range(9))\n"
        "def test_it(k): assert k != 1; time.sleep(k // 3 * 99)\n"
    )
    with pytest.raises(command.StepError, match="pytest takes at most 10 s") as failure:
        command.pass_tests(10, "not gpu", "", str(tmp_path))
    found = failure.value.figures
    assert (found["passed"], found["failed"]) == (2, 1)
    assert "test_it[1]" in found["named"][0]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time; time.sleep(9)", "at most 1 s"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("raise ValueError(7)", "ValueError: 7; exit code 1"),
    ],
)
def test_a_command_that_ends_badly_says_how(command, code, reason):
    """Too long, killed, or with an error: a StepError that names it."""
    limit_s = 1 if "sleep" in code else 60
    with pytest.raises(command.StepError, match=reason):
        command.succeed(limit_s, "timeit", "-n1", "-r1", code)


def test_a_command_that_takes_too_long_ends_with_all_it_has_begun(command, tmp_path):
    """A child that would live on is killed too, and nobody waits for it."""
    child = f"import time; time.sleep(3); open({str(tmp_path / 'late')!r}, 'w')"
    code = (
        f"import subprocess, sys; print('begun'); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    with pytest.raises(command.OvertimeError) as failure:
        command.run(2, str(script))
    assert failure.value.tail == ["begun"]
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_losses_that_take_too_long_leave_those_that_were_measured(steps, command, monkeypatch):
    """The file grows loss by loss; the step has failed, with the figures that are there."""

    def run(limit_s, module, *arguments):
        out = Path(arguments[arguments.index("--out") + 1])
        out.write_text('{"problems": {"swav": {}}}')
        raise command.OvertimeError(f"{module} takes at most {limit_s} s, got more", "")

    monkeypatch.setattr(command, "run", run)
    with tempfile.TemporaryDirectory() as folder:
        step = steps.all_steps(gpu_scale.FULL, "cuda", Path(folder))["losses"]
        with pytest.raises(command.StepError, match="at most 5 s") as failure:
            step.call(5)
    assert failure.value.figures == {"problems": {"swav": {}}}


def test_fused_on_cuda_needs_triton_alone(check, monkeypatch):
    """On CUDA the fused backend is profiled where Triton is, and numba does not matter."""
    steps = importlib.import_module("benchmarks.gpu.gpu_steps")
    there = {"triton"}
    monkeypatch.setattr(
        "augengine.backends.create_backend.find_spec", lambda name: name in there or None
    )
    assert steps._why_absent("fused", "cuda") is None
    assert steps._why_absent("fused", "cpu") == "not installed"
    there.clear()
    assert steps._why_absent("fused", "cuda") == "not installed"
