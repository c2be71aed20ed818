"""A run says in three lines what it is going to do, before its first step."""

import re
from pathlib import Path

import pytest
import torch
from tiny_run import tiny_config

from trainer.train import train


def test_a_run_says_what_it_is_going_to_do(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images, encoder, views, steps and machine, first of all; when continued, from where."""
    data = {"train": str(shard_folder), "backend": "kornia", "decoder": "pillow", "workers": 1}
    config = tiny_config(shard_folder, loop={"epochs": 0.5, "batch_size": 8}, data=data)
    train(config, tmp_path / "run")
    first, second, third, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("37 images in 3 classes; swav, resnet10 of ")
    assert first.endswith("; views 2 x 16 px + 1 x 8 px")
    assert second.startswith("2 steps of 8 images, 0.5 epochs; on cpu with ")
    assert f"with {torch.get_num_threads()} of " in second
    assert second.endswith(" threads, 1 loader thread, kornia")
    assert re.fullmatch(
        r"memory: about [\d.]+ .iB to [\d.]+ .iB \(weights .+ \+ a step .+ \+ views .+ \+ what "
        r"libraries keep\), [\d.]+ .iB free",
        third,
    )
    assert any("step 2/2" in line for line in rest)
    train(config, tmp_path / "run", resume=True)
    assert "0.5 epochs, from step 2 on; on cpu" in capsys.readouterr().err
