"""Entry points: the short names that installed packages offer, read without importing them.

A package says so in its pyproject.toml:

    [project.entry-points."augengine.methods"]
    mine = "my_pkg.mine:Mine"
"""

from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points

from shards.errors import UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """A name, where its object is, and who installed it."""

    name: str
    address: str  # module:attribute
    distribution: str  # name and version
    rival: str = ""  # another package that offers the name for something else

    def describe(self) -> str:
        """`entry point of my-dist 1.0: my_pkg.mine:Mine`."""
        return f"entry point of {self.distribution}: {self.address}"


def entries_of(kind: str) -> dict[str, Entry]:
    """The installed entry points of the group augengine.KIND by name."""
    found: dict[str, Entry] = {}
    for point in entry_points(group=f"augengine.{kind}"):
        entry = Entry(point.name, point.value.replace(" ", ""), _distribution(point))
        former = found.setdefault(entry.name, entry)
        if former.address != entry.address:
            found[entry.name] = replace(former, rival=entry.distribution)
    return dict(sorted(found.items()))


def entry_of(kind: str, name: str) -> Entry:
    """One of them; UsageError when two packages offer the name for different things."""
    entry = entries_of(kind)[name]
    if entry.rival:
        raise UsageError(
            f"a name of augengine.{kind} belongs to one installed package, got {name} of "
            f"{entry.distribution} and of {entry.rival}; uninstall one of them, or write "
            f"{entry.address}"
        )
    return entry


def _distribution(point: EntryPoint) -> str:
    if point.dist is None:
        return "an unknown package"
    return f"{point.dist.name} {point.dist.version}"
