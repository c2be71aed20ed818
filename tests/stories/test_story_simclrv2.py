"""SimCLR v2 in three commands, as docs/methods.md has them, on an encoder of its kind in small."""

from pathlib import Path

from story import SMALL, photo, write
from typed import ROOT, typed

MARK = "<!-- three steps: run by tests/stories/test_story_simclrv2.py -->"
TINY = "--sizes 32 --batch-size 12 --epochs 1 loop.precision=fp32 optim.warmup_epochs=0"


def commands() -> list[str]:
    """The lines of the code block behind the mark."""
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8").partition(MARK)[2]
    return text.split("```")[1].strip().splitlines()


def test_three_commands_make_a_student(desk: Path) -> None:
    """Selective kernels and a head of three layers, tuned from its middle, and a student."""
    for number in range(36):
        split = "train" if number < 24 else "test"
        name = f"{split}-images/class{number % 3}/{number}.jpg"
        write(desk / name, photo(number, number % 3))
    for split in ("train", "test"):
        typed(f"python tools/make_shards.py {split}-images {split}", desk)
    pretrain, tune, distill = commands()
    wide = "--arch resnet50_sk backbone.width=0.125 method.queue_length=12 run.device=cpu eval.k=3"
    said = typed(f"{pretrain} {TINY} {wide}", desk)
    assert "resnet50_sk" in said
    # A tenth of eight images a class is none.
    tune = tune.replace("--finetune 0.1", "--finetune 0.5")
    said = typed(f"{tune} --finetune-epochs 2", desk)
    assert "layers kept of the projector: 1" in said
    distill = distill.replace("finetuned-0.1", "finetuned-0.5")
    said = typed(f"{distill} {TINY} {SMALL}", desk)
    assert "2 steps done" in said
    said = typed("python -m trainer.evaluate runs/student", desk)
    assert "random encoder" in said
