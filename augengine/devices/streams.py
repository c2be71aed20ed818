"""A device by its name; beside a GPU a stream of one's own, waits that do not spin, and copies."""

import weakref

import torch

from shards.errors import UsageError

_IDLE: dict[torch.device, list[torch.cuda.Stream]] = {}


def borrow_stream(device: torch.device, holder: object) -> torch.cuda.Stream:
    """A side stream for `holder` alone; another's once that is gone, when its work must be done.

    Torch keeps freed memory for the stream it was used on: with new streams for every evaluation
    it would keep ever more.
    """
    idle = _IDLE.setdefault(device, [])
    try:
        stream = idle.pop()  # one step, so safe among threads
    except IndexError:
        stream = torch.cuda.Stream(device)
    weakref.finalize(holder, idle.append, stream).atexit = False
    return stream


def named_device(name: torch.device | str) -> torch.device:
    """The device that is named; UsageError where torch knows none of that name."""
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"a device is cpu, cuda or cuda:N, got {name!r} ({reason}); leave it out to have it "
            "chosen"
        ) from None


def numbered(device: torch.device) -> torch.device:
    """The same device with its number.

    `cuda` alone means the calling thread's GPU, and a new thread begins on the first one whatever
    its process works on; so a device is numbered where it is given, before threads share it.
    """
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def sleep_until_done(stream: torch.cuda.Stream) -> None:
    """Return when all work queued so far is done; a spinning thread takes the decoder's core."""
    event = torch.cuda.Event(blocking=True)
    event.record(stream)
    event.synchronize()


def upload(
    tensor: torch.Tensor,  # on the host
    device: torch.device,
) -> torch.Tensor:
    """Its copy on a device, in the order of the current stream; the host does not wait for it.

    A copy from memory that is not pinned would wait for all that the stream has to do before it.
    Torch keeps the pinned memory from being used again until the copy is over.
    """
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
