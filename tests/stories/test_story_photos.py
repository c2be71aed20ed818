"""Photographs with junk among them: to shards, to an encoder, to another program."""

from pathlib import Path

import torch
from plain_resnet import PlainResNet
from safetensors.torch import load_file
from story import SMALL, photo, write
from typed import typed

from trainer import checkpoint
from trainer.record.log import read_metrics
from trainer.record.rundir import read_config
from trainer.record.samplelog import count_ids
from trainer.setup.networks import build_method


def make_photos(folder: Path, num_images: int) -> None:
    """Three classes; a text, a torn file, a page of HTML called .jpg, hidden files, odd names."""
    for i in range(num_images):
        kind = ("JPEG", "PNG")[i % 5 == 0]
        name = f"{'klein und groß/' if i % 4 == 0 else ''}{i} copy.{kind.lower()}"
        write(folder / ("ant", "bee", "cat")[i % 3] / name, photo(i, i % 3, kind))
    write(folder / "ant/readme.txt", b"what these are")
    write(folder / "ant/torn.jpg", photo(999, 0)[:500])
    write(folder / "bee/page.jpg", b"<html>404</html>")
    write(folder / "bee/empty.png", b"")
    write(folder / "cat/.DS_Store", b"\0" * 100)


def test_photos_to_an_encoder_that_another_program_loads(desk: Path, times: int) -> None:
    """Pack, check, train on two ranks, stop, go on with one, score, export: equal features."""
    num_images = 48 * times
    make_photos(desk / "photos", num_images)
    held_out = num_images // 4
    said = typed(f"python tools/make_shards.py photos sets/val --limit {held_out}", desk)
    said = typed(f"python tools/make_shards.py photos sets/own --skip {held_out}", desk)
    assert "3 classes" in said
    assert "left out 3 bad images" in said
    assert "quarantine.jsonl" in said
    typed("python tools/check_shards.py sets/own", desk)

    command = "-m trainer.run --data sets/own --eval-data sets/val --method swav --views 2+6"
    command += f" --sizes 32+16 --batch-size 12 --epochs {2 * times} --out 'my run' {SMALL}"
    command += " backbone.stem=imagenet method.num_prototypes=8 run.record_ids=true"
    said = typed(f"torchrun --nproc-per-node 2 {command}", desk, code=None, STOP_AFTER="3")
    assert "stopped after step 3" in said
    said = typed("python -m trainer.run --out 'my run' --resume", desk)
    total = 2 * times * 36 * times // 12
    assert f"{total:,} steps done" in said
    counts = count_ids(desk / "my run")
    assert len(counts) == counts.total() == 12 * total
    scores = [r["step"] for r in read_metrics(desk / "my run") if "knn" in r]
    assert scores[0] == 0
    assert scores[-1] == total

    said = typed("python -m trainer.evaluate 'my run' --baselines", desk)
    assert "raw pixels" in said
    assert f"{held_out} held-out images" in said
    typed("python -m trainer.export 'my run' --out encoder.safetensors", desk)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    other = PlainResNet(width=0.125)
    other.load_state_dict(load_file(desk / "encoder.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images), features(desk / "my run", images))


def features(run: Path, images: torch.Tensor) -> torch.Tensor:
    """What the run's own encoder makes of the images."""
    config = read_config(run)
    method = build_method(config, config.policy.load())
    method.load_state_dict(checkpoint.load(checkpoint.find(run))["method"])
    return method.encoder.eval()(images)
