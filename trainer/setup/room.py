"""Does a method fit into memory? Weighed before it is made: past that the system may just kill us.

Built on torch's meta device it has all its shapes and no values, so a wrong width costs a line.
"""

import math
import warnings
from collections.abc import Callable
from itertools import chain

from torch import nn

from augengine.devices.free_memory import free_host_bytes
from shards.errors import UsageError
from shards.terminal.bytesize import show_size
from trainer.nets.shapes import shapes_only


def check_room(make: Callable[[], nn.Module], *, is_ours: bool = True) -> None:
    """UsageError when what `make` gives has more bytes than the host has free.

    What is not ours may ask for values while it is made: then it is not weighed.
    """
    try:
        needed = _weight(make)
    except UsageError:
        raise
    except Exception:  # said when it is made in earnest, if it is a fault
        if is_ours:
            raise
        return
    free = free_host_bytes()
    if free is not None and needed > free:
        size = show_size(needed) if math.isfinite(needed) else "more than any machine has"
        raise UsageError(
            f"a method's weights and queues fit into memory, got {size} for {show_size(free)} that "
            "are free; lower method.*_dim, num_prototypes or queue_length, or backbone.width"
        )


def _weight(make: Callable[[], nn.Module]) -> float:
    """Bytes of parameters and buffers."""
    try:
        with shapes_only(), warnings.catch_warnings():
            # Weights of a file that are loaded into mere shapes: torch says that this does nothing.
            warnings.simplefilter("ignore")
            network = make()
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        return math.inf
    tensors = chain(network.parameters(), network.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
