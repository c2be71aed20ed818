"""`trainer.evaluate` takes any encoder, and scores it by the numbers that runs are judged by."""

import json
from pathlib import Path

import pytest
from made_run import made_run

from trainer.evaluate import main as evaluate
from trainer.export import main as export


def scores_of(argv: list[str], path: Path) -> dict[str, tuple[float, float]]:
    """kNN and linear probe by row."""
    assert evaluate([*argv, "--k", "3", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["scores"]
    return {row["what"]: (row["knn"], row["linear"]) for row in rows}


def test_an_exported_encoder_scores_as_its_run(shard_folder: Path, tmp_path: Path) -> None:
    """The same features give the same scores, also those of the untrained network (seed 0)."""
    run, data = tmp_path / "run", str(shard_folder)
    made_run(run, shard_folder)
    assert export([str(run), "--out", str(tmp_path / "e.safetensors")]) == 0
    sets = ["--data", data, "--eval-data", data]
    of_run = scores_of([str(run), *sets], tmp_path / "run.json")
    of_file = scores_of([str(tmp_path / "e.safetensors"), *sets], tmp_path / "file.json")
    assert of_file["encoder"] == of_run["step 3"]
    assert of_file["random encoder"] == of_run["random encoder"]
    conditions = json.loads((tmp_path / "file.json").read_text())["conditions"]
    assert len(conditions["weights_sha256"]) == 64
    assert conditions["train"] == data


def test_a_module_of_others_is_scored_as_it_wants_its_views(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called with views of its size and colours; there is no row of an untrained one."""
    (tmp_path / "seen_by.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    size_px, mean, std = 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)\n"
        "    def forward(self, x):\n"
        "        assert x.shape[2:] == (8, 8) and 0 <= x.min() and x.max() <= 1\n"
        "        return x.flatten(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    argv = ["seen_by:Net", "--data", str(shard_folder), "--eval-data", str(shard_folder)]
    found = scores_of(argv, tmp_path / "s.json")
    # The training images are the test images: 192 numbers know them by heart.
    assert found == {"encoder": (found["encoder"][0], 1.0)}


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ([], "got no --data; add --data SHARDS"),
        (["--data", "{data}"], "got no --eval-data"),
        (["--data", "{data}", "--eval-data", "{data}", "--finetune", "1"], "name a run's folder"),
        (["--data", "{data}", "--eval-data", "{data}", "--checkpoint", "3"], "leave it out"),
    ],
)
def test_what_belongs_to_runs_is_refused(
    flags: list[str], part: str, shard_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One line: sets are named, nothing is trained further, no checkpoint is chosen."""
    made_run(tmp_path / "run", shard_folder)
    path = str(tmp_path / "e.safetensors")
    assert export([str(tmp_path / "run"), "--out", path]) == 0
    capsys.readouterr()
    assert evaluate([path, *(flag.format(data=shard_folder) for flag in flags)]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
