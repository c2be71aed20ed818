"""One run on two ranks, one rank, two again: a killed rank, a full disk, a damaged checkpoint."""

from pathlib import Path

from story import SMALL, photo, write
from typed import typed

from trainer import checkpoint
from trainer.record.samplelog import count_ids


def test_a_run_survives_all_of_it(desk: Path, times: int) -> None:
    """Whatever ends a start, the next one goes on; every sample of every epoch comes once."""
    for i in range(40 * times):
        write(desk / "photos" / f"{i}.jpg", photo(i, i % 3))
    typed("python tools/make_shards.py photos set", desk)
    total = 2 * times * 40 * times // 8
    command = "-m trainer.run --data set --method simsiam --views 2 --sizes 32 --batch-size 8 "
    command += f"--epochs {2 * times} --out run --resume auto {SMALL} run.save_every_steps=2 "
    command += "run.record_ids=true run.keep=3"
    two, one = f"torchrun --nproc-per-node 2 {command}", f"python {command}"

    said = typed(two, desk, code=1, KILL_AFTER="1:3")
    assert "another rank has ended" in said
    assert newest(desk) == 2
    said = typed(one, desk, code=1, FULL_AFTER="5")
    assert "error: " in said
    assert "File too large" in said
    assert newest(desk) == 4
    damaged = checkpoint.steps(desk / "run")[-1]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    said = typed(two, desk, code=None, STOP_AFTER="7")
    assert "going on from the one before" in said
    assert "stopped after step 7" in said
    said = typed(one, desk)
    assert f"{total:,} steps done" in said
    counts = count_ids(desk / "run")
    assert len(counts) == counts.total() == 8 * total
    said = typed(one, desk)
    assert f"{total:,} steps done, already" in said


def newest(desk: Path) -> int:
    """The step of the newest checkpoint that can be read."""
    return checkpoint.load_newest(desk / "run", lambda _: None)["step"]
