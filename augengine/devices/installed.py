"""The checks that NVIDIA's libraries are installed, before a backend or a decoder imports them."""

from importlib.util import find_spec

from shards.errors import UsageError

INSTALL_NVIMGCODEC = "pip install nvidia-nvimgcodec-cu12 (Linux and Windows only)"
INSTALL_DALI = "pip install nvidia-dali-cuda120 (Linux only)"


def has_dali() -> bool:
    """Whether DALI is installed; imports nothing of it."""
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None


def require_dali(what: str) -> None:
    """Raise UsageError with the install line unless DALI is there."""
    if not has_dali():
        raise UsageError(f"{what} 'dali' needs NVIDIA DALI, which is not installed: {INSTALL_DALI}")


def has_nvimgcodec() -> bool:
    """Whether nvImageCodec is installed; imports nothing of it."""
    return find_spec("nvidia") is not None and find_spec("nvidia.nvimgcodec") is not None


def require_nvimgcodec() -> None:
    """Raise UsageError with the install line unless nvImageCodec is there."""
    if not has_nvimgcodec():
        raise UsageError(
            "decoder 'nvimgcodec' needs NVIDIA nvImageCodec, which is not installed: "
            f"{INSTALL_NVIMGCODEC}"
        )
