"""From what the user typed as SOURCE to a `Source`: which of the kinds it is, or why it is none.

Kinds are told apart by what lies there, never by trying one reader after the other; each kind has
its own file and is imported when it is needed.
"""

from pathlib import Path

from shards.errors import UsageError
from shards.sources.demo import DemoSource
from shards.sources.folder import FolderSource
from shards.sources.raw import Source

KINDS = (
    "a folder of images, MNIST-style idx files, a CIFAR python archive, Parquet files, a folder of "
    "tars, or the word demo"
)


def open_source(spec: str, split: str | None = None) -> Source:
    """The source a user means.

    Args:
        spec: a path, a glob of Parquet files, `demo` or `demo:test`.
        split: which part, for kinds that come in parts; None takes the training part.

    Raises:
        UsageError: there is no such thing, or not in this split.
        DataError: it is there but damaged.
    """
    if spec == "demo" or spec.startswith("demo:"):
        return DemoSource(split or spec.removeprefix("demo").removeprefix(":") or "train")
    path = Path(spec)
    if not path.exists():
        raise UsageError(
            f"SOURCE must be {KINDS}, got {spec}, which does not exist; check the path"
        )
    return FolderSource(path, split)
