"""Headers of image files: the format, the size and the orientation, without a decode.

The scan and the packer ask here, so that an index holds the size every decoder will produce: EXIF
orientation applied, and nothing that a decoder would refuse for its size.
"""

import io
import warnings

from PIL import ExifTags, Image

from shards.format import MAX_IMAGE_PIXELS
from shards.samples.foreign_content import told_content
from shards.samples.jpeg_markers import MAX_SCANS, has_many_scans
from shards.samples.oddities import defined_range

# Endings, in lower case, of the formats that are parsed here: of files in a folder, of members of
# tars and zips alike.
IMAGE_ENDINGS = frozenset(
    "jpg jpeg jpe jfif jfi jif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm".split()
)
# Photographs, too, but of formats that are not read here.
PHOTO_ENDINGS = frozenset("heic heif avif jxl jp2 dng cr2 cr3 nef arw orf raf rw2 psd".split())
# Only these parsers see foreign bytes: Pillow knows fifty formats, some of which start programs.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
# MPO is what phones write: a JPEG with more pictures behind the first.
JPEG_FORMATS = ("JPEG", "MPO")
MAX_SIDE = 65_535  # of the index's uint16
_ROTATED_BY_90 = (5, 6, 7, 8)  # EXIF orientations that swap height and width


class ImageError(ValueError):
    """Bytes that cannot become an image here; the message is the reason, for a quarantine list."""


def open_image(
    encoded: bytes, max_pixels: int = MAX_IMAGE_PIXELS, max_side: int = MAX_SIDE
) -> Image.Image:
    """Parse the header of an encoded image; pixels are decoded by the caller's `load()`.

    Args:
        encoded: the bytes of a file.
        max_pixels: a larger image is refused; more than the format allows is for those who shrink.
        max_side: the same, of height and width.

    Raises:
        ImageError: not an image of a known format, or too large.
    """
    if not encoded:
        raise ImageError("the file is empty")
    # Pillow warns of a size bomb, odd EXIF and more; our own limit below speaks for the first and
    # the rest says nothing that a decode in full would not.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _parse(encoded)
        except Exception as error:  # parsers of hostile bytes raise nearly anything
            reason = told_content(encoded) or "not an image of a known format"
            if not isinstance(error, Image.UnidentifiedImageError):
                reason = f"the header cannot be parsed ({type(error).__name__}: {error})"
            raise ImageError(reason) from None
    check_size(image.size, max_pixels, max_side)
    if image.format in JPEG_FORMATS and has_many_scans(encoded):
        raise ImageError(f"the JPEG has over {MAX_SCANS} scans")
    return image


def _parse(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=_PILLOW_FORMATS)
    except Image.DecompressionBombError:
        pass
    # Pillow has a limit of its own, for all images of a process. Its parsers have none.
    for name in _PILLOW_FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(encoded[:16]) is True:
            return factory(io.BytesIO(encoded), "")
    raise Image.UnidentifiedImageError


def check_values(image: Image.Image) -> None:
    """Refuse an opened image whose values have no defined meaning in 8 bits; raises ImageError."""
    if image.mode in ("I", "F") and defined_range(image) is None:
        raise ImageError(
            f"32-bit, signed or floating pixels (mode {image.mode}) have no defined range; save as "
            f"8 or 16 bit, or pack with --value-range LOW:HIGH"
        )


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


def check_size(
    size: tuple[int, int], max_pixels: int = MAX_IMAGE_PIXELS, max_side: int = MAX_SIDE
) -> None:
    """Refuse (width, height) that the index or a decoder could not hold; raises ImageError."""
    width, height = size
    if width <= 0 or height <= 0:
        raise ImageError(f"the image has no pixels ({height}x{width})")
    if width * height > max_pixels:
        raise ImageError(
            f"the image has over {max_pixels:,} pixels ({height}x{width}); pack it with --resize, "
            f"and --max-pixels {width * height} if need be"
        )
    if max(width, height) > max_side:
        raise ImageError(
            f"a side of the image has over {max_side:,} pixels ({height}x{width}); pack it with "
            f"--resize"
        )


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
