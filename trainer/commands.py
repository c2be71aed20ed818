"""How a command begins: before it imports what takes seconds, and loads torch.

`python -m trainer.run` calls `begin` in its first lines. The commands that pip installs, such as
`augengine-train` (pyproject.toml names these functions), are imported by scripts of their own: they
begin here and import the rest after.
"""

from trainer.interrupt import quiet_interrupt
from trainer.threads import set_threads


def begin() -> None:
    """Let Ctrl-C be one word from now on, and set torch's threads; call it before torch loads."""
    quiet_interrupt()
    set_threads()


def train() -> int:
    """`augengine-train`."""
    begin()
    from trainer.run import main

    return main()


def evaluate() -> int:
    """`augengine-evaluate`."""
    begin()
    from trainer.evaluate import main

    return main()


def export() -> int:
    """`augengine-export`."""
    begin()
    from trainer.export import main

    return main()
