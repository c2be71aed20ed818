"""A run's folder with records, and sets to look at, as a report finds them; and hostile ones."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_run import made_run
from tiny_sets import picture, write_set

from trainer.config import TrainConfig
from trainer.record.starts import head_of

PROTOCOL = "k=20, T=0.07, 36 training and 24 held-out images, 32 px, classes by name"
MEASURES = {"rankme": 9.25, "alpha_req": 1.125, "lidar": 5.5, "alignment": 0.25, "uniformity": -1.5}
NAMES = ("red", "green", "blue")
START = {
    "command": "python -m trainer.run --data sets/train",
    "date": "2026-01-02T03:04:05+00:00",
    "step": 0,
    "of_steps": 40,
    "versions": "augengine 0.1.0, torch 2.13.0",
    "machine": "here",
    "auto": {"run.device": "cpu", "data.backend": "fused"},
    "notes": ["fitted to 36 images", "  loop.epochs=2: half a minute", "  optim.name=sgd: small"],
}


def records(final_knn: float = 0.4375) -> list[dict[str, Any]]:
    """Two scores, two of measures, four of training, as a run of 40 steps writes them."""
    found: list[dict[str, Any]] = []
    for step, time_s, knn in ((0, 4.0, 0.25), (40, 48.0, final_knn)):
        head = {"step": step, "epoch": step / 20}
        training = [
            {
                "step": at,
                "epoch": at / 20,
                "time_s": 4.0 + at,
                "loss": 5.0 - at / 20,
                "lr": 0.1,
                "momentum": 0.99,
                "images_per_s": 100.0,
                "data_wait": 0.25,
                "peak_memory_mib": 512.0,
                "std": 0.9,
                "rank": 7.0,
                "bad_samples": 0,
                "constant_loss": 4.5,
            }
            for at in (10, 20, 30, 40)
        ]
        found += training if step else []
        scored = {"knn": knn, "knn_protocol": PROTOCOL, "probe": knn + 0.125}
        found.append({**head, "time_s": time_s, **scored, "eval_s": 3.0, "probe_s": 1.0})
        measured = {**MEASURES, "label_free_protocol": "24 held-out images", "label_free_s": 1.0}
        found.append({**head, "time_s": time_s + 1, **measured})
    return found


def reported_run(folder: Path, name: str = "run", **changes: Any) -> tuple[Path, TrainConfig]:
    """A run on three classes of colours, with held-out images; the folder and its config."""
    for data, number, seed in (("train", 36, 0), ("val", 24, 1)):
        if not (folder / data).exists():
            labels = [NAMES[i % 3] for i in range(number)]
            write_set(folder / data, labels, [i % 3 for i in range(number)], seed=seed)
    run = folder / name
    held_out = {"eval": {"data": str(folder / "val"), "k": 5}}
    config = made_run(run, folder / "train", **(held_out | changes))
    write_head(run, START)
    write_lines(run / "metrics.jsonl", records())
    return run, config


def write_head(run: Path, start: dict[str, Any]) -> None:
    """Say in the head of config.yaml how the run was started."""
    path = run / "config.yaml"
    text = "".join(x for x in path.read_text().splitlines(keepends=True) if x[:1] != "#")
    path.write_text(head_of([start]) + text)


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """A JSON object a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_hostile_set(folder: Path, classes: Sequence[str], key: str, seed: int = 0) -> Path:
    """Images of these classes, whose names in the tar begin with `key`."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "train-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in range(6 * len(classes)):
            image, label = picture(i % 3, 100 * seed + i), classes[i % len(classes)].encode()
            for ending, data in (("jpg", image), ("cls", label)):
                member = tarfile.TarInfo(f"{key}{i:03d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return folder
