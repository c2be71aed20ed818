"""The name `demo` in place of a data folder: a rendered set, packed once into the user's cache.

`build.py` opens data through `data_folder`, so `demo` (6,000 images) and `demo:test` (1,200 others)
work wherever a folder does. They are the same on every machine; nothing is downloaded. The cache is
$AUGENGINE_CACHE, else $XDG_CACHE_HOME/augengine, else ~/.cache/augengine.
"""

import os
from pathlib import Path

from shards.format import MANIFEST_NAME
from shards.sources.demo import DEMO_VERSION, DemoSource
from shards.writer import pack

DEMO = "demo"


def data_folder(name: str, *, progress: bool = False) -> Path:
    """The folder that `name` means: itself, or the packed demo set for `demo` and `demo:SPLIT`."""
    kind, _, split = name.partition(":")
    if kind != DEMO:
        return Path(name)
    source = DemoSource(split or "train")  # refuses other splits before anything is written
    folder = _cache() / f"demo-v{DEMO_VERSION}" / (split or "train")
    if not (folder / MANIFEST_NAME).is_file():
        pack(source, folder, name=split or "train", workers=1, progress=progress, spec=name)
    return folder


def _cache() -> Path:
    root = os.environ.get("AUGENGINE_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "augengine"
