"""Tars of others get an index where they lie, and the user hears what is in it and what is not.

`tools/make_shards.py` comes here for a folder of tars without an OUT.
"""

import shlex
from collections.abc import Iterator, Sized
from pathlib import Path

from shards.index import build_index
from shards.indexing.local_index import index_notes
from shards.samples.labels import tell_alike
from shards.sources.archive_names import find_archives, loose_notes
from shards.terminal.counted import counted


def index_in_place(folder: Path, image_key: str | None, *, overwrite: bool) -> Iterator[str]:
    """Index a folder of tars anew, whatever is there, and yield the lines to say.

    Raises:
        DataError: as `build_index`.
    """
    index = build_index(folder, image_key=image_key, overwrite=overwrite, progress=True)
    yield (
        f"{folder}: {counted(len(index), 'image')}, {tell_classes(index.classes)}, "
        f"{counted(len(index.shards), 'shard')}, indexed in place, nothing was rewritten"
    )
    yield from (f"note: {note}" for note in index_notes(folder, index.manifest))
    if alike := tell_alike(index.classes):
        yield f"note: {alike}"
    found = find_archives(folder)
    others = [path for path in found if path.parent != folder or path.suffix != ".tar"]
    if others:
        yield (
            f"note: not in the index: {counted(len(others), 'archive')} that only packing reads, "
            f"the first is {others[0]}; python -m tools.make_shards {shlex.quote(str(folder))} OUT "
            "packs everything"
        )
    yield from (f"note: {note}" for note in loose_notes(folder))
    yield f"next: python -m trainer.run --data {shlex.quote(str(folder))}"


def tell_classes(names: Sized) -> str:
    """Such as `12 classes`, or `no labels`."""
    return counted(len(names), "class") if len(names) else "no labels"
