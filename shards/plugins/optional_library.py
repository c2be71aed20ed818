"""A library that only some things need: imported when they are asked for."""

from importlib import import_module
from typing import Any

from shards.errors import UsageError


def optional_library(
    name: str,  # of its module
    what: str,  # needs it
    install: str,  # what pip installs, as a shell reads it
) -> Any:
    """The module; UsageError with the line that installs it where it is not there, or not whole."""
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        found = "which is not installed" if error.name in (None, library, name) else f"got {error}"
        raise UsageError(f"{what} needs {library}, {found}; pip install {install}") from None
