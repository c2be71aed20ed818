"""Waiting for a CUDA stream without spinning."""

import torch


def sleep_until_done(stream: torch.cuda.Stream) -> None:
    """Return when all work queued so far is done; a spinning thread takes the decoder's core."""
    event = torch.cuda.Event(blocking=True)
    event.record(stream)
    event.synchronize()
