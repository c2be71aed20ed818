"""The name `demo` in place of a data folder: a rendered set, packed once into the user's cache.

Runs and `open_views` find data through `data_folder`, so `demo` (6,000 images) and `demo:test`
(1,200 others) work wherever a folder does. They are the same on every machine; nothing is
downloaded. The cache is `shards.store.cache_root`.
"""

from pathlib import Path

from shards.format import MANIFEST_NAME
from shards.packing.pack import pack
from shards.sources.demo_set import DEMO_VERSION, DemoSource
from shards.store import cache_root, locked

DEMO = "demo"


def data_folder(name: str, *, progress: bool = False) -> Path:
    """The folder that `name` means: itself, or the packed demo set for `demo` and `demo:SPLIT`."""
    kind, _, split = name.partition(":")
    if kind != DEMO:
        return Path(name)
    source = DemoSource(split or "train")  # refuses other splits before anything is written
    folder = cache_root() / f"demo-v{DEMO_VERSION}" / (split or "train")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Runs that start together need the set together: the first packs it, the others wait.
    with locked(folder.parent):
        if not (folder / MANIFEST_NAME).is_file():
            pack(source, folder, name=split or "train", workers=1, progress=progress, spec=name)
    return folder
