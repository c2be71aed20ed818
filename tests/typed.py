"""Commands as they are typed in a terminal: what they say and how they end.

    typed("python tools/make_shards.py photos shards", folder)
    typed("torchrun --nproc-per-node 2 -m trainer.run --data shards ...", folder, STOP_AFTER="3")

Each runs in a process of its own, in `folder`. With a fault of faulty_run.py the run is that one.
They start warm (warm_python.py), torchrun's ranks too; with `cold`, as a shell starts them.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from warm_python import environment, warm_python

ROOT = Path(__file__).parents[1]
FAULTY_RUN = Path(__file__).with_name("faulty_run.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
FAULTS = ("STOP_AFTER", "KILL_AFTER", "FULL_AFTER")


def typed(
    command: str,
    folder: Path,
    code: int | None = 0,
    *,
    cold: bool = False,
    limit_s: float = 600,
    **variables: str,
) -> str:
    """Everything that the command says; `code` is the exit code it must end with, None: any."""
    first, *words = shlex.split(command)
    words = [str(ROOT / word) if word.startswith("tools/") else word for word in words]
    if any(fault in variables for fault in FAULTS):
        at = words.index("-m")
        assert words[at + 1] == "trainer.run"
        words[at : at + 2] = [str(FAULTY_RUN)]
    python = sys.executable if cold else warm_python()
    done = subprocess.run(
        [python, *(TORCHRUN if first == "torchrun" else ()), *words],
        cwd=folder,
        env=environment() | {"PYTHON_EXEC": python} | variables,  # torchrun's, of its ranks
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
    )
    said = done.stdout + done.stderr
    assert code is None or done.returncode == code, f"{command}\n{said}"
    # torchrun prints a traceback of its own when a rank ends badly; ours are never seen.
    assert not re.search(r'File ".*/(shards|augengine|trainer|tools)/\w+', said), said
    return said
