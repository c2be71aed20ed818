"""The run that faults_kills.py kills: its shard, its command, and the samples it is to see once."""

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from shards.order import SampleOrder

NUM_IMAGES, BATCH, STEPS = 37, 12, 16  # of 3.08 steps an epoch: borders lie inside batches


def write_tar(folder: Path) -> None:
    """A shard of small noisy JPEGs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "train-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in range(NUM_IMAGES):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 32, 3), dtype=np.uint8)).save(buffer, "JPEG")
            member = tarfile.TarInfo(f"{i:08d}.jpg")
            member.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(member, buffer)


def command(run: Path, shards: Path) -> list[str]:
    """The arguments of a run; every start has the same."""
    return [
        *("--data", str(shards), "--method", "swav", "--views", "2+1", "--sizes", "16+8"),
        *("--arch", "resnet10", "--batch-size", str(BATCH), "--backend", "kornia"),
        *("--epochs", str((STEPS + 0.5) * BATCH / NUM_IMAGES), "--device", "cpu"),
        *("--out", str(run), "--resume", "auto", "data.decoder=pillow", "data.workers=1"),
        *("backbone.width=0.125", "backbone.stem=small", "method.num_prototypes=12"),
        *("method.hidden_dim=16", "method.out_dim=8", "method.queue_length=24"),
        *("method.queue_start_epoch=1", "run.save_every_steps=2", "run.record_ids=true"),
        *("run.log_every=5", "run.collective_seconds=120", "data.stall_seconds=100"),
    ]


def expected_ids() -> Counter[tuple[int, int]]:
    """Every (epoch, sample) of the stream's first STEPS * BATCH positions, once."""
    epochs, ids = SampleOrder(NUM_IMAGES, 0)(np.arange(STEPS * BATCH))
    return Counter(zip(epochs.tolist(), ids.tolist(), strict=True))
