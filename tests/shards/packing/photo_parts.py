"""Photos to be packed in parts, and the command around them."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.format import TIMES_NAME
from tests.shards.noise import contents as all_contents
from tools import make_shards

# Noise images of 1 to 2 KB: several shards.
SMALL = ("--workers", "1", "--shard-size", "40KiB")


def make_photos(folder: Path) -> Path:
    """40 images of three classes: noise as PNG and JPEG, two are torn, one loses its alpha."""
    for number in range(40):
        path = folder / f"class{number % 3}" / f"{number}.{'jpg' if number % 4 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 20 + number % 7
        shape = (side, side, 4 if number == 8 else 3)
        pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if number in (5, 24):
            path.write_bytes(path.read_bytes()[:100])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, but for what this disk says of the tars."""
    found = all_contents(folder)
    found.pop(TIMES_NAME, None)
    return found


def packs(*arguments: object) -> None:
    """Run the command; it has to succeed."""
    assert make_shards.main([str(argument) for argument in arguments]) == 0


def make_parts(photos: Path, out: Path, num_parts: int, *options: object) -> None:
    """Every part, in an order of chance."""
    numbers = list(range(1, num_parts + 1))
    random.Random(num_parts).shuffle(numbers)
    for number in numbers:
        packs(photos, out, *SMALL, *options, "--part", f"{number}/{num_parts}")


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """The one line in which a command is refused."""
    capsys.readouterr()
    assert make_shards.main([str(argument) for argument in arguments]) == code
    [line] = capsys.readouterr().err.splitlines()
    return line
