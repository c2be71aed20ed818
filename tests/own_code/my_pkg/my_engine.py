"""A backend and a decoder that are others', under a name of their own."""

import torch

from augengine.backends.kornia_ops import KorniaBackend
from augengine.decoders.pillow_decoder import PillowDecoder


class Views(KorniaBackend):
    """Kornia's views."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(device, dtype, 1)
        self.name = "views"


class Pixels(PillowDecoder):
    """Pillow's pixels."""

    name = "pixels"

    def __init__(self) -> None:
        super().__init__(1)


class Nameless:
    """Can be called, and says nothing of itself."""

    def __call__(self, *_) -> None:
        return None
