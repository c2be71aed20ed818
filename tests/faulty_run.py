"""`trainer.run` to which something happens after a step; the environment says what and when.

STOP_AFTER=3      every rank gets SIGTERM, as from a scheduler
KILL_AFTER=1:5    rank 1 gets SIGKILL, in torchrun's first start, as from a lack of memory
KILL_AFTER=1:5:0.2    so many seconds later, wherever it is then
FULL_AFTER=4      no file can be written beyond 10 kB from then on, as on a full disk

DIGESTS=folder    every rank writes a line "STEP SHA256" of its weights there when the run is saved
THREADS=folder    every rank writes the names of the process's threads there, after the run
"""

import hashlib
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

from trainer.record.report import Reporter
from trainer.run import main
from trainer.train import Saver

NEVER = "0"
note, save = Reporter.note, Saver.__call__


def note_and_fail(self: Reporter, progress: Any, result: Any) -> None:
    """The step's own work, then the fault."""
    note(self, progress, result)
    step = progress.step + 1
    if step == int(os.environ.get("STOP_AFTER", NEVER)):
        os.kill(os.getpid(), signal.SIGTERM)
    if step == int(os.environ.get("FULL_AFTER", NEVER)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    rank, last, delay_s = f"{os.environ.get('KILL_AFTER', NEVER)}::".split(":")[:3]
    first_start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if first_start and os.environ.get("RANK", "0") == rank and last and step == int(last):
        kill = partial(os.kill, os.getpid(), signal.SIGKILL)
        Timer(float(delay_s), kill).start() if delay_s else kill()


def save_and_tell(self: Saver) -> None:
    """The checkpoint, then a line about the weights as they are here."""
    save(self)
    if folder := os.environ.get("DIGESTS"):
        digest = hashlib.sha256()
        for name, tensor in self._parts.method.state_dict().items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        with (Path(folder) / f"{os.environ.get('RANK', '0')}.txt").open("a") as file:
            file.write(f"{self._outcome.step} {digest.hexdigest()}\n")


Reporter.note = note_and_fail  # type: ignore[method-assign]
Saver.__call__ = save_and_tell  # type: ignore[method-assign]


def tell_threads(folder: Path) -> None:
    """The names of all threads of this process, those of libraries too."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    (folder / f"threads-{os.environ.get('RANK', '0')}.txt").write_text("".join(names))


if __name__ == "__main__":
    code = main()
    if folder := os.environ.get("THREADS"):
        tell_threads(Path(folder))
    sys.exit(code)
