"""Versions for a manifest to hold: also where a package has none, as this one in a source tree."""

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """The installed version, or `unknown`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
