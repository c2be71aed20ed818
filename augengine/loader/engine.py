"""The engine of a loader: a backend and a decoder, given as such or by name.

By name they are chosen as the trainer chooses them: the fastest that is installed for the device.
On a GPU its CUDA kernels decode, not its hardware engine: which is faster would have to be measured
in every process, and two of them might decode the same image differently. `create_tuned_decoder`
measures it for one process.
"""

from collections.abc import Iterable

import torch

from augengine.backends.backend import Backend
from augengine.backends.create_backend import BACKENDS, create_backend
from augengine.decoders.create_decoder import DECODERS, create_decoder
from augengine.decoders.decoder import Decoder
from augengine.devices.streams import named_device
from shards.errors import UsageError


def choose_engine(
    backend: Backend | str,
    decoder: Decoder | str,
    device: torch.device
    | str
    | None,  # for names; None: the other's, else a GPU where there is one
    num_threads: int,  # of each, on the host
) -> tuple[Backend, Decoder]:
    """Both as objects; UsageError for an unknown name, and for what is not installed or neither."""
    _check("decoder", decoder, DECODERS)
    backend = choose_backend(backend, device, num_threads, beside=decoder)
    if isinstance(decoder, str):
        decoder = create_decoder(decoder, _device(device, backend), num_threads)
    return backend, decoder


def choose_backend(
    backend: Backend | str,
    device: torch.device | str | None,
    num_threads: int,
    beside: object = None,  # what it works with, and so where, when no device is given
) -> Backend:
    """The backend as an object; UsageError as for `choose_engine`."""
    _check("backend", backend, BACKENDS)
    if not isinstance(backend, str):
        return backend
    return create_backend(backend, _device(device, beside), num_threads=num_threads)


def _check(what: str, given: object, names: Iterable[str]) -> None:
    is_made = callable(given) and not isinstance(given, type)
    if what == "backend":
        is_made = is_made and isinstance(_place(given), torch.device)
    if isinstance(given, str) or is_made:
        return
    raise UsageError(
        f"a {what} is one of auto, {', '.join(names)}, or an object made by create_{what}, got "
        f'{given!r}; try {what}="auto"'
    )


def _place(made: object) -> object:
    return getattr(made, "device", None)


def _device(wanted: torch.device | str | None, other: object) -> torch.device:
    """Where what was named works; `other` is the one that may have been given."""
    place = _place(other)
    if wanted is None:
        # Of a decoder on the CPU nothing follows: it serves a backend on a GPU too.
        if isinstance(place, torch.device) and (place.type != "cpu" or hasattr(other, "dtype")):
            return place
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return named_device(wanted)
