"""The first lines of a command: they act before imports take seconds, and before torch loads."""

from trainer.setup.threads import set_threads
from trainer.watch.interrupt import quiet_interrupt


def begin() -> None:
    """Let Ctrl-C be one word from now on, and set torch's threads; call it before torch loads."""
    quiet_interrupt()
    set_threads()
