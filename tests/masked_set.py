"""Small sets whose images have masks: a disc or a square before a smooth background."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

NUM_IMAGES = 21
UNMASKED = (4,)


def pictured(number: int, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """An image [H, W, 3] uint8 and its mask [H, W] uint8, unlike any other number's."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(side, side + 20, 2).tolist()
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    image = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.indices((height, width)) - np.array([height // 2, width // 2])[:, None, None]
    reach = min(height, width) // 3
    inside = (y**2 + x**2 < reach**2) if number % 2 else (np.maximum(abs(y), abs(x)) < reach)
    image[inside] = rng.integers(0, 256, 3)
    return image, inside.astype(np.uint8) * 255


def png(pixels: np.ndarray) -> bytes:
    """The file of an image or a mask."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_masked_tar(
    folder: Path, broken: dict[int, bytes] | None = None, num_images: int = NUM_IMAGES
) -> Path:
    """A tar of labelled images with masks but for UNMASKED; `broken` are masks' bytes by number."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "train-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(num_images):
            image, mask = pictured(number)
            members = {"png": png(image), "cls": str(number % 2).encode()}
            if number not in UNMASKED:
                members["mask.png"] = (broken or {}).get(number, png(mask))
            for extension in sorted(members):
                info = tarfile.TarInfo(f"{number:06d}.{extension}")
                info.size = len(members[extension])
                tar.addfile(info, io.BytesIO(members[extension]))
    return folder


def write_masked_folders(folder: Path, num_images: int = NUM_IMAGES) -> tuple[Path, Path]:
    """The same as two folders, images in classes `a` and `b`, and masks beside them."""
    for number in range(num_images):
        image, mask = pictured(number)
        name = f"{'ab'[number % 2]}/{number}"
        for kind, pixels in (("photos", image), ("masks", mask)):
            path = folder / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "photos" or number not in UNMASKED:
                path.write_bytes(png(pixels))
    return folder / "photos", folder / "masks"
