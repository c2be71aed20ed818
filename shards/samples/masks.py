"""The masks of samples: `KEY.mask.png` beside an image in its tar, 255 where the foreground is.

A record of the index says in `reserved` how many tar blocks the mask's data lie behind the image's,
as a signed number; 0 means that there is none. So a mask moves with its sample from tar to tar, and
the size of a record is what it was. A mask is a gray PNG of the upright image's size with 1 or 8
bits a pixel; what lies between 0 and 255 mixes foreground and background.
"""

import struct
import tarfile
import zlib

import numpy as np

from shards.format import TAR_BLOCK_BYTES
from shards.samples.image_header import ImageError, check_size, load, open_image

MASK_EXTENSION = "mask.png"
# One read gets the header and most masks: those of photographs take 1 to 8 KB.
FIRST_READ_BYTES = 16 << 10
_UNSIGNED = 1 << 32
_PNG_START = b"\x89PNG\r\n\x1a\n"


def mask_step(image_offset: int, mask_offset: int) -> int:
    """What a record's `reserved` says of a mask, from the offsets of both members' data."""
    return (mask_offset - image_offset) // TAR_BLOCK_BYTES % _UNSIGNED


def masked(
    records: np.ndarray,  # [B] INDEX_DTYPE
) -> np.ndarray:
    """Whether each sample has a mask, [B] bool."""
    return records["reserved"] != 0


def mask_offsets(
    records: np.ndarray,  # [B] INDEX_DTYPE
) -> np.ndarray:
    """The offsets of masks' data in their tars, [B] int64; -1 where there is none."""
    steps = records["reserved"].astype(np.int32).astype(np.int64)
    offsets = records["offset"].astype(np.int64) + steps * TAR_BLOCK_BYTES
    return np.where(masked(records), offsets, -1)


def mask_bytes(blocks: bytes) -> int:
    """The size of a mask whose tar header these bytes begin with.

    Raises:
        ImageError: there is no header.
    """
    try:
        header = tarfile.TarInfo.frombuf(
            blocks[:TAR_BLOCK_BYTES], tarfile.ENCODING, "surrogateescape"
        )
    except tarfile.TarError:
        raise ImageError("no tar header stands before the mask; rebuild the index") from None
    return header.size


def decode_mask(encoded: bytes) -> np.ndarray:
    """A mask as [H, W] uint8, 255 where the foreground is.

    Raises:
        ImageError: it is no gray image of 1 or 8 bits, torn, or of values 0 and 1.
    """
    if encoded.startswith(_PNG_START):
        _check_chunks(encoded)
    image = open_image(encoded)
    if image.mode not in ("1", "L"):
        raise ImageError(f"a mask is gray with 1 or 8 bits a pixel, got mode {image.mode}")
    check_size(image.size)
    is_byte = image.mode == "L"
    load(image)
    pixels = np.array(image.convert("L"))
    if is_byte and pixels.max() == 1:
        raise ImageError("a mask is 255 where the foreground is, got values of 0 and 1 alone")
    return pixels


def read_mask(encoded: bytes, height: int, width: int) -> np.ndarray:
    """The mask of an image of this size, [H, W] uint8.

    Raises:
        ImageError: as `decode_mask`, or it has another size.
    """
    pixels = decode_mask(encoded)
    if pixels.shape != (height, width):
        got = "x".join(map(str, pixels.shape))
        raise ImageError(f"a mask has the size of its image, {height}x{width}, got {got}")
    return pixels


def _check_chunks(encoded: bytes) -> None:
    """Compare every chunk with its checksum: no index has one of the mask."""
    at = len(_PNG_START)
    while at < len(encoded):
        head = encoded[at : at + 8]
        size, kind = struct.unpack(">I4s", head) if len(head) == 8 else (len(encoded), b"")
        end = at + 8 + size
        crc = encoded[end : end + 4]
        if len(crc) < 4 or zlib.crc32(encoded[at + 4 : end]) != int.from_bytes(crc, "big"):
            raise ImageError("the PNG is damaged: a chunk misses its checksum")
        if kind == b"IEND":
            return
        at = end + 4
    raise ImageError("the PNG is cut off")
