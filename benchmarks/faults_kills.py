"""Kills training runs of two ranks at random moments and counts what is lost or done twice.

    python benchmarks/faults_kills.py [--runs 50] [--seed 0] [--out benchmarks/results/faults.json]

A run is killed with SIGKILL once or twice, one rank or both, at a random moment or inside a
checkpoint write (half written, before the rename, before last.pt), is started again by the same
command with `--resume auto`, and at its end has the weights, bit for bit, and the multiset of
(epoch, sample) of a run that nobody killed. One more goes on with 2, 1, 3 and 2 ranks. Processes
are forked from this one, which has imported everything, so a start takes no seconds of imports.
"""

import argparse
import importlib
import io
import json
import os
import random
import signal
import socket
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import trainer.checkpoint as checkpoint
from shards.errors import DataError, run_command
from shards.order import SampleOrder
from tools.measure import conditions
from trainer.idlog import count_ids
from trainer.run import main as train

# What a run imports only when it begins.
for name in ("augengine.backends.kornia_ops", "augengine.decoders.pillow", "trainer.methods.swav"):
    importlib.import_module(name)

DEFAULT_OUT = Path(__file__).parent / "results" / "faults.json"
NUM_IMAGES, BATCH, STEPS = 37, 12, 16  # of 3.08 steps an epoch: borders lie inside batches
PLACES = ("half written", "before the rename", "before last.pt")
MAX_SECONDS = 300.0  # of one start, on a machine that does much else


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: at a moment, or inside the n-th checkpoint write of the first rank."""

    place: str  # "at a moment", or of PLACES
    after_s: float = 0.0
    write: int = 0
    ranks: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Found:
    """What happened over all runs."""

    runs: int = 0
    kills: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("at a moment", *PLACES), 0)
    )
    bit_equal: int = 0
    exactly_once: int = 0
    max_survivor_s: float = 0.0  # from the kill of one rank to the end of the other


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, write the figures; 1 when a run differs."""
    parser = argparse.ArgumentParser(
        prog="faults_kills.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    options = parser.parse_args(argv)
    return run_command(lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tar(folder / "shards")
        whole = folder / "whole"
        start = time.monotonic()
        _finish(whole, folder / "shards", world=2)
        duration = time.monotonic() - start
        worlds = (2, 1, 3, 2)
        changed = _change_worlds(folder / "worlds", folder / "shards", worlds, rng)
        settings = {"images": NUM_IMAGES, "batch": BATCH, "steps": STEPS, "ranks": 2}
        section: dict[str, Any] = {
            "conditions": conditions(),
            "settings": settings | {"asked_runs": options.runs},
            "uninterrupted_s": round(duration, 2),
            "worlds": {"ranks": worlds, "exactly_once": changed},
        }
        found = Found()
        for number in range(options.runs):
            kills = [_draw_kill(rng, duration) for _ in range(rng.randint(1, 2))]
            _one_run(folder / f"run-{number}", whole, kills, found)
            print(f"{number + 1} of {options.runs}: {found}", file=sys.stderr, flush=True)
            # After each: who stops this early keeps what was found.
            merge_section(options.out, "kills", section | asdict(found))
    return int(not (found.bit_equal == found.exactly_once == found.runs and changed))


def merge_section(path: Path, name: str, section: dict[str, Any]) -> None:
    """Set one section of a JSON file and leave the others."""
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(report | {name: section}, indent=2) + "\n", encoding="utf-8")


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
        *("backbone.width=0.0625", "backbone.stem=small", "method.num_prototypes=12"),
        *("method.hidden_dim=16", "method.out_dim=8", "method.queue_length=24"),
        *("method.queue_start_epoch=1", "run.save_every_steps=2", "run.record_ids=true"),
        *("run.log_every=5", "run.collective_seconds=120", "data.stall_seconds=100"),
    ]


def _one_run(run: Path, whole: Path, kills: Sequence[Kill], found: Found) -> None:
    shards = whole.parent / "shards"
    found.runs += 1
    for kill in kills:
        codes, survivor_s = start_ranks(run, shards, world=2, kill=kill)
        if any(codes):
            found.kills[kill.place] += 1
            found.max_survivor_s = max(found.max_survivor_s, round(survivor_s, 2))
    _finish(run, shards, world=2)
    found.bit_equal += _last(run) == _last(whole)
    found.exactly_once += count_ids(run) == expected_ids()


def _change_worlds(run: Path, shards: Path, worlds: Sequence[int], rng: random.Random) -> bool:
    """Whether a run over several worlds, killed in all but the last, sees every sample once."""
    for world in worlds[:-1]:
        kill = Kill(rng.choice(PLACES), write=rng.randint(2, 3))
        if not any(start_ranks(run, shards, world=world, kill=kill)[0]):
            raise DataError(f"a run must be killed before its end, got {kill} too late")
    _finish(run, shards, world=worlds[-1])
    return count_ids(run) == expected_ids()


def start_ranks(
    run: Path,
    shards: Path,
    *,
    world: int,
    kill: Kill | None = None,
    prepare: Callable[[int], None] = lambda rank: None,  # in the new process of a rank
    extra: Sequence[str] = (),  # arguments
) -> tuple[list[int], float]:
    """Exit codes by rank (128 + signal for a killed one), and how long the last outlived the first.

    Raises:
        DataError: a rank hangs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def body(rank: int) -> int:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["LOCAL_WORLD_SIZE"] = str(world)
        if rank == 0 and kill is not None and kill.place in PLACES:
            _die_in_write(kill)
        prepare(rank)
        return train([*command(run, shards), *extra])

    begin = time.monotonic()
    children = {_fork(f"{run}.log", body, rank): rank for rank in range(world)}
    try:
        return _wait(children, begin, kill)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def expected_ids() -> Counter[tuple[int, int]]:
    """Every (epoch, sample) of the stream's first STEPS * BATCH positions, once."""
    epochs, ids = SampleOrder(NUM_IMAGES, 0)(np.arange(STEPS * BATCH))
    return Counter(zip(epochs.tolist(), ids.tolist(), strict=True))


def _finish(run: Path, shards: Path, *, world: int) -> None:
    codes, _ = start_ranks(run, shards, world=world)
    if any(codes):
        raise DataError(f"a run that nobody kills ends well, got exit codes {codes}: see {run}.log")


def _wait(children: dict[int, int], begin: float, kill: Kill | None) -> tuple[list[int], float]:
    """Reap every child, kill those that `kill` names when it is time; `children` is emptied."""
    codes, first_death = [0] * len(children), 0.0
    pending = kill.ranks if kill is not None and kill.place == "at a moment" else ()
    while children:
        now = time.monotonic()
        if pending and kill is not None and now - begin >= kill.after_s:
            for child, rank in children.items():
                if rank in pending:
                    os.kill(child, signal.SIGKILL)
            pending = ()
        if now - begin > MAX_SECONDS:
            raise DataError(f"every rank ends within {MAX_SECONDS:g} s, got one that hangs: {kill}")
        for child in list(children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                codes[children.pop(child)] = code if code >= 0 else 128 - code
                first_death = first_death or time.monotonic()
        time.sleep(0.005)
    return codes, time.monotonic() - first_death


def _fork(log: str, body: Callable[[int], int], rank: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 70  # of a traceback
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        torch.set_num_threads(1)
        code = body(rank)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _die_in_write(kill: Kill) -> None:
    """Make this process kill itself at its kill.write-th checkpoint."""
    left = [kill.write]

    def dies(function: Callable[..., Any], prelude: Callable[..., None]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if "step-" in str(args):
                left[0] -= 1
                if left[0] == 0:
                    prelude(*args)
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    def write_half(state: object, file: Any) -> None:
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()

    save = torch.save
    if kill.place == "half written":
        torch.save = dies(save, write_half)
    elif kill.place == "before the rename":
        os.replace = dies(os.replace, lambda *args: None)
    else:
        checkpoint._link = dies(checkpoint._link, lambda *args: None)


def _draw_kill(rng: random.Random, duration: float) -> Kill:
    place = rng.choice(("at a moment", "at a moment", "at a moment", *PLACES))
    ranks = rng.choice(((0,), (1,), (0, 1)))
    if place == "at a moment":
        return Kill(place, after_s=round(rng.uniform(0, duration), 3), ranks=ranks)
    return Kill(place, write=rng.randint(1, STEPS // 4))


def _last(run: Path) -> list[object]:
    """Everything of the last checkpoint that was learned, tensors as their bytes."""
    state = checkpoint.load(checkpoint.find(run))
    del state["config"]
    return list(_leaves(state))


def _leaves(value: object, where: str = "") -> Iterator[object]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{i}]")
    elif isinstance(value, torch.Tensor):
        yield where, value.dtype, value.shape, value.contiguous().numpy().tobytes()
    else:
        yield where, value


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
