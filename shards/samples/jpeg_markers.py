"""The markers of a JPEG: where its picture ends, and how many scans it takes to decode.

Phones write a video, further pictures or a depth map behind the end of the first picture. Decoders
stop at that end, so what is said here is about the picture alone.

Markers: ITU-T T.81, annex B.
"""

import re

# Encoders write ten or so. Each takes as long as the whole image, however few bytes it has.
MAX_SCANS = 100
_SCAN, _END = 0xDA, 0xD9
_SCAN_START = b"\xff\xda"
# What follows a scan: no stuffed zero, no restart, no fill byte.
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
# Start, end, restart and TEM have no length.
_BARE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))


def has_many_scans(jpeg: bytes) -> bool:
    """Whether decoding a JPEG would take far longer than its pixels say."""
    # The video behind a picture holds these two bytes by chance, some twenty times a megabyte.
    return jpeg.count(_SCAN_START) > MAX_SCANS and _walk(jpeg)[0] > MAX_SCANS


def picture_end(jpeg: bytes) -> int | None:
    """The first byte behind the picture; None where its markers do not lead to an end."""
    return _walk(jpeg)[1]


def _walk(jpeg: bytes) -> tuple[int, int | None]:
    """Scans, counted no further than one too many, and where the picture ends."""
    at, num_scans = 2, 0  # behind the start of image
    while (found := _NEXT_MARKER.search(jpeg, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END:
            return num_scans, at
        if marker in _BARE:
            continue
        num_scans += marker == _SCAN
        if num_scans > MAX_SCANS:
            break
        at += int.from_bytes(jpeg[at : at + 2], "big")
    return num_scans, None
