"""An own policy file: a run keeps what it read, whatever becomes of the file afterwards."""

from pathlib import Path

import torch
from safetensors import safe_open
from story import SMALL, photo, write
from typed import typed

from trainer import checkpoint

POLICY = """\
mean: [0.5, 0.5, 0.5]
std: [0.25, 0.25, 0.25]
groups:
- {count: 2, size_px: 32, views: [{scale: [0.4, 1.0]}]}
- {count: 2, size_px: 16, views: [{scale: [0.1, 0.4], jitter: 0.8, brightness: 0.4}]}
"""


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.find(run))["method"]


def test_a_run_keeps_its_own_policy(desk: Path, times: int) -> None:
    """Edited, moved and deleted, it changes nothing; another one is refused; export knows it."""
    for i in range(40 * times):
        write(desk / "photos" / f"{i}.jpg", photo(i, i % 3))
    typed("python tools/make_shards.py photos set", desk)
    mine = desk / "mine.yaml"
    mine.write_text(POLICY)
    typed("python tools/show_views.py --data set --policy mine.yaml --out views.png", desk)
    assert (desk / "views.png").stat().st_size > 1000
    command = f"python -m trainer.run --data set --method swav --policy mine.yaml {SMALL} "
    command += f"--batch-size 8 --epochs {times} method.num_prototypes=8"
    typed(f"{command} --out whole", desk)
    said = typed(f"{command} --out cut", desk, code=143, STOP_AFTER="2")
    assert "stopped after step 2" in said

    mine.write_text(POLICY.replace("[0.4, 1.0]", "[0.9, 1.0]"))
    said = typed("python -m trainer.run --out cut --resume --policy mine.yaml", desk, code=2)
    assert "policy." in said
    assert "leave the change out" in said
    mine.unlink()
    elsewhere = desk / "elsewhere"
    elsewhere.mkdir()
    typed("python -m trainer.run --out ../cut --resume", elsewhere)
    whole, cut = weights(desk / "whole"), weights(desk / "cut")
    assert all(torch.equal(cut[key], value) for key, value in whole.items())
    typed("python -m trainer.export ../cut --out encoder.safetensors", elsewhere)
    with safe_open(elsewhere / "encoder.safetensors", "pt") as file:
        assert file.metadata()["mean"] == "0.5, 0.5, 0.5"
        assert file.metadata()["image_size_px"] == "32"
    head = (desk / "cut/config.yaml").read_text()
    assert head.count("python -m trainer.run") >= 2  # the first command and the resumed one
