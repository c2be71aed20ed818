"""How a command begins: before it imports what takes seconds, and loads torch."""

from trainer.setup.threads import set_threads
from trainer.watch.interrupt import quiet_interrupt


def begin() -> None:
    """Let Ctrl-C be one word from now on, and set torch's threads; call it before torch loads."""
    quiet_interrupt()
    set_threads()
