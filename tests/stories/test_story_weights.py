"""A published checkpoint goes in, trains on a mixture, and comes out as features and exports."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from story import SMALL, photo, write
from toy_checkpoints import MAKERS, encoder
from typed import typed

from trainer.record.samplelog import count_ids

PHOTOS, WEB, EPOCHS = 32, 40, 2
SHARE = 0.4  # of the web's pictures, an epoch: 16


def test_from_a_published_checkpoint_to_every_format(desk: Path, times: int) -> None:
    """MoCo's layout; two sets, killed on two ranks, ended on one; features, copies, exports."""
    keys, make = MAKERS["MoCo v1, v2"]
    torch.save(make(encoder(keys).state_dict()), desk / "moco_v2.pth.tar")
    for i in range(PHOTOS * times):
        write(desk / "photos" / f"{i}.jpg", photo(i, i % 3))
    for i in range(WEB * times):
        write(desk / "web" / f"{i}.jpg", photo(1000 + i, i % 3))
    write(desk / "photos" / "copy of 5.jpg", (desk / "photos/5.jpg").read_bytes())
    (desk / "photos" / "0.jpg").unlink()
    for name in ("photos", "web"):
        typed(f"python tools/make_shards.py {name} sets/{name}", desk)

    data = f"--data sets/photos --data sets/web:{SHARE}"
    command = f"-m trainer.run {data} --method byol --views 2 --sizes 32 --batch-size 8 {SMALL} "
    command += f"--epochs {EPOCHS} --out run --resume auto backbone.stem=imagenet "
    command += "backbone.weights=moco_v2.pth.tar run.record_ids=true run.save_every_steps=2"
    said = typed(f"torchrun --nproc-per-node 2 {command}", desk, code=1, KILL_AFTER="1:5")
    assert "(MoCo v1, v2)" in said
    assert "another rank has ended" in said
    (desk / "moco_v2.pth.tar").rename(desk / "put away")  # what it gave is in the checkpoints
    said = typed(f"python {command}", desk)
    assert f"{EPOCHS * 6 * times:,} steps done" in said
    came = Counter(id for (_, id), times_ in count_ids(desk / "run").items() for _ in range(times_))
    assert [came[i] for i in range(PHOTOS * times)] == [EPOCHS] * PHOTOS * times
    web = [came[PHOTOS * times + i] for i in range(WEB * times)]
    assert sum(web) == EPOCHS * round(SHARE * WEB * times)
    assert max(web) - min(web) <= 1

    typed("python -m trainer.embed run --data sets/photos --out photos.npy", desk)
    rows = np.load(desk / "photos.npy")
    assert {name.decode() for name in rows["name"]} == {p.name for p in (desk / "photos").iterdir()}
    typed(
        "python tools/find_duplicates.py photos.npy --threshold 0.9999 --skip-list skip.txt", desk
    )
    with open(desk / "duplicates.csv", encoding="utf-8") as file:
        groups = [row["name"] for row in csv.DictReader(file)]
    assert {"5.jpg", "copy of 5.jpg"} <= set(groups)
    (desk / "put away").rename(desk / "moco_v2.pth.tar")
    said = typed(
        f"python {command.replace('--out run', '--out less')} data.skip_list=skip.txt", desk
    )
    skipped = [s for s in (desk / "skip.txt").read_text().splitlines() if not s.startswith("#")]
    assert f"data.skip_list leaves out {len(skipped)} of" in said

    typed("python -m trainer.export run --out encoder.safetensors", desk)
    said = typed("python -m trainer.evaluate encoder.safetensors", desk, code=None)
    assert "error: " in said  # a file alone has no sets
    said = typed("python -m trainer.export run --format torchvision --out e.pth", desk, code=None)
    assert "--format torchvision is for ResNets of the published width" in said
    typed("python -m trainer.export run --format hub --out hub", desk)
    assert {"model.safetensors", "config.json", "README.md"} <= {
        path.name for path in (desk / "hub").iterdir()
    }


@pytest.mark.slow
def test_an_onnx_file_gives_the_features_of_the_run(desk: Path) -> None:
    """Run by onnxruntime, where that is installed, beside `trainer.load_encoder`."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    import trainer

    for i in range(16):
        write(desk / "photos" / f"{i}.jpg", photo(i, i % 3))
    typed("python tools/make_shards.py photos set", desk)
    command = f"--data set --method simclr --views 2 --sizes 32 --epochs 1 --batch-size 8 {SMALL}"
    typed(f"python -m trainer.run {command} --out run", desk)
    typed("python -m trainer.export run --format onnx --out encoder.onnx", desk)
    ours = trainer.load_encoder(desk / "run")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    session = runtime.InferenceSession(str(desk / "encoder.onnx"))
    (features,) = session.run(["features"], {"images": images.numpy()})
    with torch.no_grad():
        assert np.abs(features - ours.module(images).numpy()).max() < 1e-5
