"""Beside a GPU: to wait for a stream without spinning, to copy to it without waiting."""

import torch


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
