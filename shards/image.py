"""What an image file says about itself before it is decoded: is it one, how large, which way up.

The scan and the packer ask here, so that an index holds the size every decoder will produce: EXIF
orientation applied, and nothing that a decoder would refuse for its size.
"""

import io
import warnings

from PIL import ExifTags, Image

from shards.format import MAX_IMAGE_PIXELS

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm")
# Only these parsers see foreign bytes: Pillow knows fifty formats, some of which start programs.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
# MPO is what phones write: a JPEG with more pictures behind the first.
JPEG_FORMATS = ("JPEG", "MPO")
_MAX_SIDE = 65_535  # of the index's uint16
# Encoders write ten or so. Each takes as long as the whole image, however few bytes it has.
_MAX_SCANS = 100
_ROTATED_BY_90 = (5, 6, 7, 8)  # EXIF orientations that swap height and width


class ImageError(ValueError):
    """Bytes that cannot become an image here; the message is the reason, for a quarantine list."""


def open_image(encoded: bytes) -> Image.Image:
    """Parse the header of an encoded image; pixels are decoded by the caller's `load()`.

    Raises:
        ImageError: not an image of a known format, or larger than the format allows.
    """
    if not encoded:
        raise ImageError("the file is empty")
    # Pillow warns of a size bomb, odd EXIF and more; our own limit below speaks for the first and
    # the rest says nothing that a decode in full would not.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(encoded), formats=_PILLOW_FORMATS)
        except Image.DecompressionBombError:
            raise ImageError(f"the image has over {MAX_IMAGE_PIXELS:,} pixels") from None
        except Exception as error:  # parsers of hostile bytes raise nearly anything
            reason = "not an image of a known format"
            if not isinstance(error, Image.UnidentifiedImageError):
                reason = f"the header cannot be parsed ({type(error).__name__}: {error})"
            raise ImageError(reason) from None
    check_size(image.size)
    if image.format in JPEG_FORMATS and has_many_scans(encoded):
        raise ImageError(f"the JPEG has over {_MAX_SCANS} scans")
    return image


def has_many_scans(jpeg: bytes) -> bool:
    """Whether decoding a JPEG would take far longer than its pixels say."""
    return jpeg.count(b"\xff\xda") > _MAX_SCANS


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width in pixels once EXIF orientation is applied, from the header alone.

    Raises:
        ImageError: a TIFF whose orientation must be read from its pixels, which are damaged.
    """
    width, height = image.size
    # Pillow turns TIFFs itself, and whether `size` knows before loading depends on its version.
    if image.format == "TIFF" and _orientation(image) in _ROTATED_BY_90:
        load(image)
        width, height = image.size
    elif _orientation(image) in _ROTATED_BY_90:
        width, height = height, width
    return height, width


def load(image: Image.Image) -> None:
    """Decode all pixels of an opened image; raises ImageError when they are damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image.load()
        except Exception as error:  # as above
            raise ImageError(f"the pixels cannot be decoded ({error})") from None


def check_size(size: tuple[int, int]) -> None:
    """Refuse (width, height) that the index or a decoder could not hold; raises ImageError."""
    width, height = size
    if width <= 0 or height <= 0:
        raise ImageError(f"the image has no pixels ({height}x{width})")
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageError(f"the image has over {MAX_IMAGE_PIXELS:,} pixels ({height}x{width})")
    if max(width, height) > _MAX_SIDE:
        raise ImageError(f"a side of the image has over {_MAX_SIDE:,} pixels ({height}x{width})")


def _orientation(image: Image.Image) -> int:
    # Not `getexif()`: it decodes a PNG's pixels, and it believes XMP, as no other decoder does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tags = getattr(image, "tag_v2", None)
            if tags is None:
                tags = Image.Exif()
                tags.load(image.info.get("exif", b""))
            return int(tags.get(ExifTags.Base.Orientation, 1))
        except Exception:  # damaged EXIF orients nothing, as in every decoder
            return 1
