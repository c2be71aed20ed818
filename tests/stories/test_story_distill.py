"""A CIFAR archive, a fine-tuned teacher, and a student whose encoder outlives the teacher."""

import pickle
import tarfile
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from story import SMALL
from typed import typed

NAMES = ["plane", "car", "bird"]


def write_archive(path: Path, num_a_batch: int) -> None:
    """A CIFAR-10 archive of random planes, one colour brighter for each class."""
    folder, rng = path.parent / "cifar-10-batches-py", np.random.default_rng(0)
    folder.mkdir()
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": NAMES}, protocol=2))
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = [i % 3 for i in range(num_a_batch)]
        planes = rng.integers(0, 130, (num_a_batch, 3, 1024), dtype=np.uint8)
        for row, label in enumerate(labels):
            planes[row, label] += 100
        content = {b"data": planes.reshape(num_a_batch, 3072), b"labels": labels}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)


def test_a_student_outlives_its_teacher(desk: Path, times: int) -> None:
    """SimCLR, fine-tuned on half the labels; distilled; exported and scored, the teacher gone."""
    write_archive(desk / "cifar-10-python.tar.gz", 9 * times)
    for split in ("train", "test"):
        typed(f"python tools/make_shards.py cifar-10-python.tar.gz {split} --split {split}", desk)
    data = f"--data train --eval-data test --sizes 32 --batch-size 15 --epochs {times} {SMALL}"
    typed(f"python -m trainer.run --method simclr --views 2 --out simclr {data}", desk)
    typed("python -m trainer.evaluate simclr --finetune 0.5 --finetune-epochs 4", desk)
    teacher = desk / "simclr/finetuned-0.5.pt"
    assert teacher.is_file()
    student = f"--method distill --views 1 --out student {data} method.teacher={teacher.name}"
    said = typed(f"python -m trainer.run {student}", desk, code=None)
    assert "error: " in said  # another folder's file, by its bare name
    assert not (desk / "student").exists()
    student = student.replace(teacher.name, f"simclr/{teacher.name}")
    said = typed(f"python -m trainer.run {student}", desk)
    assert f"{times * 45 * times // 15:,} steps done" in said
    teacher.unlink()
    typed("python -m trainer.export student --out student.safetensors", desk)
    assert load_file(desk / "student.safetensors")["conv1.weight"].shape[0] == 8
    said = typed("python -m trainer.evaluate student", desk)
    assert "random encoder" in said
