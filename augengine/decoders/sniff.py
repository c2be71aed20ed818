"""The format of image bytes by their header: DALI decodes some, Pillow the rest.

DALI reads plain 8-bit JPEG and PNG exactly as Pillow does. It drops an alpha channel that we lay
over white, and it differs in 16-bit PNG; CMYK agrees on the CPU, but not by any document. A wrong
"no" costs time, a wrong "yes" costs colours, so everything that is not plain is a no.
"""

import struct

from shards.format import MAX_IMAGE_PIXELS
from shards.samples.jpeg_markers import has_many_scans

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_RGB = 0, 2  # colour types without palette or alpha
_PNG_ODD_CHUNKS = (b"tRNS", b"eXIf")  # transparency by colour key; an orientation few decoders read
JPEG_START = b"\xff\xd8\xff"
_JPEG_PROGRESSIVE = 0xC2
_JPEG_FRAMES = (
    0xC0,
    0xC1,
    _JPEG_PROGRESSIVE,
)  # baseline, extended, progressive: Huffman-coded 8-bit DCT
# Every other start of frame: lossless, hierarchical, arithmetic-coded.
_JPEG_ODD_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


def is_plain(encoded: bytes) -> bool:
    """True for an 8-bit gray or RGB JPEG or PNG of a size a decoder may be asked for."""
    if encoded.startswith(JPEG_START):
        return _is_plain_jpeg(encoded)
    return encoded.startswith(_PNG_SIGNATURE) and _is_plain_png(encoded)


def _is_plain_jpeg(encoded: bytes) -> bool:
    """Also that the markers lead to the first scan, as damaged ones do not.

    DALI (2.4) leaves a batch at such an image while its threads decode those before it, which are
    on the stack of what it has left: a segmentation fault.
    """
    at, plain = 2, False  # behind the start of image
    while at + 10 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _JPEG_SCAN:
            return plain
        if marker in _JPEG_ODD_FRAMES:
            return False
        length, bits, height, width, components = struct.unpack_from(">HBHHB", encoded, at + 2)
        if marker in _JPEG_FRAMES:
            plain = bits == 8 and components in (1, 3) and 0 < height * width <= MAX_IMAGE_PIXELS
            if not plain or (marker == _JPEG_PROGRESSIVE and has_many_scans(encoded)):
                return False
        at += 2 + length
    return False


def _is_plain_png(encoded: bytes) -> bool:
    at = len(_PNG_SIGNATURE)
    plain = False
    while at + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        if kind == b"IDAT":
            return plain
        if kind in _PNG_ODD_CHUNKS:
            return False
        if kind == b"IHDR" and at + 18 <= len(encoded):
            width, height, bits, colours = struct.unpack_from(">IIBB", encoded, at + 8)
            plain = bits == 8 and colours in (_PNG_GRAY, _PNG_RGB)
            plain = plain and 0 < height * width <= MAX_IMAGE_PIXELS
        at += 12 + length
    return False
