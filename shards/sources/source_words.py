"""A source in the words of its user, so that another process or machine opens the same."""

from dataclasses import asdict, dataclass
from pathlib import Path

from shards.sources.detect import open_source
from shards.sources.masked import MaskedSource
from shards.sources.raw import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWords:
    """The arguments of `open_source` that say which source is meant, and where its masks are."""

    spec: str
    split: str | None = None
    image_key: str | None = None
    files: Path | None = None
    labels: Path | None = None
    label_column: str | None = None
    skip_list: Path | None = None
    masks: Path | None = None  # a folder that has the images' masks
    own: str | None = None
    scratch: Path | None = None

    def open(self, *, progress: bool = False) -> Source:
        """The source; raises as `open_source`."""
        words = asdict(self)
        masks = words.pop("masks")
        source = open_source(**words, progress=progress)
        if masks is None:
            return source
        root = Path(self.spec, self.split or "") if source.kind == "folder" else None
        return MaskedSource(source, masks, root)
