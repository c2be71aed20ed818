"""Parquet without labels to a DINO ViT; its neighbours are looked up in another, labelled pair."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from story import photo, write
from typed import typed


def test_dino_on_parquet_is_scored_on_another_labelled_pair(desk: Path, times: int) -> None:
    """Train without labels or evaluation data; score with --data and --eval-data of another set."""
    num_images = 40 * times
    rows = [{"bytes": photo(i, i % 3), "path": None} for i in range(num_images)]
    (desk / "hub/default/train").mkdir(parents=True)
    for part in range(2):
        table = pa.table({"image": rows[part::2]})
        pq.write_table(table, desk / f"hub/default/train/{part:04d}.parquet")
    said = typed("python tools/make_shards.py hub unlabelled", desk)
    assert f"{num_images} images" in said
    assert "no labels" in said
    for split, first in (("gallery", 5_000), ("queries", 6_000)):
        for i in range(30):
            write(desk / split / ("ant", "bee", "cat")[i % 3] / f"{i}.png", photo(first + i, i % 3))
        typed(f"python tools/make_shards.py {split} sets/{split}", desk)
    typed(
        "python -m trainer.run --data unlabelled --method dino --views 2+4 --sizes 32+16 "
        f"--arch vit_tiny16 --batch-size 8 --epochs {times} --out run run.device=cpu "
        "method.num_prototypes=64 method.hidden_dim=32 method.out_dim=16 optim.name=adamw "
        "optim.base_lr=0.001 optim.warmup_epochs=0.2",
        desk,
    )
    said = typed("python -m trainer.evaluate run --baselines", desk, code=2)
    assert "error: " in said
    assert "--eval-data" in said
    said = typed(
        "python -m trainer.evaluate run --data sets/gallery --eval-data sets/queries --k 3 "
        "--json scores.json",
        desk,
    )
    result = json.loads((desk / "scores.json").read_text())
    assert result["conditions"]["train_images"] == result["conditions"]["test_images"] == 30
    assert [score["what"] for score in result["scores"]][1] == "random encoder"
    assert all(0 <= score["knn"] <= 1 for score in result["scores"])
    assert "sets/queries" in said
