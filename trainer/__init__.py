"""Views to a trained encoder.

The files here are a run, in the order in which it happens:

    run.py          the command: what was typed, its errors, its exit code
    config.py       every key that decides a run, its default and its meaning
    build.py        from a config to the parts: data, engine, method, optimizer
    train.py        the loop: batch, step, record, save, evaluate
    step.py         one optimizer step: forward, backward, update
    checkpoint.py   the run on disk, whole or absent
    evaluate.py     the second command: what a frozen encoder is worth
    export.py       the third: the encoder alone, for other programs

They stand on checks.py (a rule that must hold) and distributed.py (ranks and their collectives).
Notebooks ask `build_run` (command/build_run.py) for the parts, and loop themselves.
Everything else is in a wing; its `__init__.py` says what it holds, and the contract `trainer` in
setup.cfg which wing may import which. A method is a file in `methods`, its loss one in `losses`;
the fourth command, `python -m trainer.embed`, is the wing `embed`.

`trainer.load_encoder(RUN | FILE)` gives a trained encoder to a program or a notebook.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.command.build_run import build_run
    from trainer.encoders.load_encoder import load_encoder

# Imported when asked for: they need torch, which takes a second, and a help text does not.
_HOMES = {
    "build_run": "trainer.command.build_run",
    "load_encoder": "trainer.encoders.load_encoder",
}
__all__ = ["build_run", "load_encoder"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
