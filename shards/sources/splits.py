"""Parts of a set, told by file names: `train-00000.tar` is for training, `val/0.zip` is not."""

import re
from collections.abc import Sequence
from pathlib import Path

from shards.errors import UsageError

SPLITS = {"train": ("train", "training"), "test": ("test", "testing")}
SPLITS |= {"validation": ("validation", "valid", "val")}


def choose_split(paths: Sequence[Path], split: str | None, spec: str, what: str) -> list[Path]:
    """The files of a split; without splits in their names, all of them.

    Args:
        paths: of the files.
        split: train, test or validation; None takes the training part.
        spec: what the user called the source.
        what: the files, for messages.

    Raises:
        UsageError: there is no such split.
    """
    canonical = next((name for name, words in SPLITS.items() if split in words), None)
    if split is not None and canonical is None:
        raise UsageError(f"{what} have the splits {', '.join(SPLITS)}, got {split!r}")
    of_split = {name: [p for p in paths if split_of(p) == name] for name in SPLITS}
    wanted = of_split[canonical or "train"]
    if wanted:
        return wanted
    found = [name for name, files in of_split.items() if files]
    if split is None and len(found) <= 1:
        return list(paths)
    raise UsageError(
        f"--split must name a part of SOURCE, got {split or 'none'} for {spec} with "
        f"{', '.join(found) or 'no splits in the file names'}; give one of these"
    )


def split_of(path: Path) -> str | None:
    """The split a file is of, by the first word of its name, else of its folder's."""
    for name in (path.stem, path.parent.name):
        # What Hugging Face converts of a large set is called partial-train.
        word = re.split(r"[-_.]", name.lower().removeprefix("partial-"), maxsplit=1)[0]
        for split, words in SPLITS.items():
            if word in words:
                return split
    return None
