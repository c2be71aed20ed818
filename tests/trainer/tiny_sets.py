"""Small sets of images whose colour says what they show, labelled as a test wants them."""

import io
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def picture(looks: int, seed: int) -> bytes:
    """A noisy JPEG of 40 x 32 pixels that is red, green, blue, or dark; no two are alike."""
    pixels = np.random.default_rng(seed).integers(0, 60, (32, 40, 3), dtype=np.uint8)
    if looks in range(3):
        pixels[..., looks] += 180
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_set(
    folder: Path,
    labels: Sequence[int | str | None],  # a .cls each; None: no .cls
    looks: Sequence[int] | None = None,  # what each shows, 0 to 3; None: its label
    *,
    seed: int = 0,
    torn: Collection[int] = (),  # images whose pixels end in their midst
) -> Path:
    """One tar; image i is the i-th sample, also when it is torn."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "train-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for i, label in enumerate(labels):
            shown = looks[i] if looks is not None else label
            image = picture(shown if isinstance(shown, int) else 3, 1000 * seed + i)
            _add(tar, f"{i:06d}.jpg", image[: 3 * len(image) // 4] if i in torn else image)
            if label is not None:
                _add(tar, f"{i:06d}.cls", str(label).encode())
    return folder


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
