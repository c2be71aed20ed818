"""The ranks of a machine find each other and one block of memory, or agree that they cannot."""

import subprocess
from pathlib import Path

import pytest
import torch
from warm_python import environment, warm_python

from trainer.setup.sharedcache import Neighbours

ROOT = Path(__file__).parents[3]
RANK = """
import sys
import torch.distributed as dist
from augengine.devices.shared_memory import SharedBlock
from trainer.setup import sharedcache
rank, world, file, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
if how == "two machines":
    sharedcache._machine = lambda: f"machine {rank // 2}"
if how == "one cannot" and rank == 1:
    SharedBlock.open = staticmethod(lambda address, num_bytes: None)
neighbours = sharedcache.Neighbours()
said = [len(neighbours), neighbours.agree(100 + rank)]
memory = neighbours.share(1000)
if memory is not None:
    memory[rank] = 10 + rank
dist.barrier()
print(*said, None if memory is None else memory[:world].tolist(), flush=True)
dist.barrier()
dist.destroy_process_group()
"""


def run_ranks(world: int, how: str, file: Path) -> list[str]:
    command = [warm_python(), "-c", RANK]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(file), how],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        for rank in range(world)
    ]
    found = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * world
    return found


@pytest.mark.parametrize(
    ("world", "how", "expected"),
    [
        (2, "one machine", ["2 100 [10, 11]"] * 2),
        (2, "one cannot", ["2 100 None"] * 2),
        (3, "two machines", [*["2 100 [10, 11, 0]"] * 2, "1 102 None"]),
    ],
)
def test_ranks_share_what_their_machine_has(
    tmp_path: Path, world: int, how: str, expected: list[str]
) -> None:
    """One block a machine, of the first one's size; all or none of its ranks use it."""
    assert run_ranks(world, how, tmp_path / "meeting") == expected


def test_alone_there_is_nobody_to_share_with() -> None:
    """One process keeps memory of its own."""
    neighbours = Neighbours()
    assert len(neighbours) == 1
    assert neighbours.agree(7) == 7
    assert neighbours.share(10) is None
    assert torch.distributed.is_initialized() is False
