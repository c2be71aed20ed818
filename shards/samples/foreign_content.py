"""What bytes are that were taken for an image: the common mistakes, each with what to do.

Downloads end in web pages, checkouts in pointers, and phones call HEIC .jpg when they send it.
"""

_CONVERT = "convert it to JPEG or PNG"
_AT_START = (
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"),
    (b"\xff\x0a", "JPEG XL", _CONVERT),
    (b"\0\0\0\x0cJXL ", "JPEG XL", _CONVERT),
    (b"\0\0\0\x0cjP  ", "JPEG 2000", _CONVERT),
    (b"\xff\x4f\xff\x51", "JPEG 2000", _CONVERT),
    (b"8BPS", "a Photoshop file", _CONVERT),
    (b"%PDF", "a PDF", _CONVERT),
    (b"\0\0\1\0", "an icon", _CONVERT),
    (b"PK\x03\x04", "a zip", "unpack it"),
    (b"\x1f\x8b", "packed by gzip", "unpack it"),
)
_BRANDS = {  # of ISO media files, in their bytes 8 to 12
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
    b"crx ": "a raw photograph",
}
_TEXTS = (
    (b"<!doctype html", "a web page", "download it again"),
    (b"<html", "a web page", "download it again"),
    (b"<svg", "SVG", _CONVERT),
    (b"<?xml", "XML", "download it again, or convert it"),
    (b"{", "JSON", "download it again"),
)


def told_content(encoded: bytes) -> str | None:
    """What such bytes are, and what to do; None where nothing is known of them."""
    if encoded[4:8] == b"ftyp":
        return _told(_BRANDS.get(encoded[8:12], "a video"), _CONVERT)
    for start, what, remedy in _AT_START:
        if encoded.startswith(start):
            return _told(what, remedy)
    text = encoded[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, what, remedy in _TEXTS:
        if text.startswith(start):
            return _told(what, remedy)
    if not encoded.strip(b"\0"):
        return _told("zeros only", "copy it again")
    return None


def _told(what: str, remedy: str) -> str:
    return f"{what} in place of an image: {remedy}"
