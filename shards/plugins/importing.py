"""The import of others' code: from installed packages and the working folder, never from a run.

A command that reads a run's folder, a recipe or a classifier of somebody says so by `never_from` or
`never_beside`, before it looks at any name in it. From then on no name leads to code in there: what
was handed over may name a module that you have, but brings none.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from shards.errors import UsageError

_NEVER: set[Path] = set()  # folders that no code comes from, for as long as the process lives


def never_from(folder: Path) -> None:
    """From now on import nothing that lies in this folder; it need not be there."""
    _NEVER.add(folder.resolve())


def never_beside(file: Path) -> None:
    """Likewise of a file's folder, unless the command is typed in there."""
    folder = file.resolve().parent
    if not Path.cwd().is_relative_to(folder):
        never_from(folder)


def split_address(address: str, what: str = "attribute") -> tuple[str, str]:
    """Module and attribute of `package.module:attribute`; UsageError when it is written otherwise.

    Args:
        address: the text.
        what: the kind of thing, for the message.
    """
    module, _, attribute = address.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise UsageError(
            f"{what} of one's own is named package.module:Class, got {address!r}; for example "
            f"my_package.mine:Mine"
        )
    return module, attribute


def attribute_of(what: str, name: str, address: str) -> Any:
    """Import the module of an address, and take the attribute out of it."""
    module, attribute = import_own(what, name, address), split_address(address, what)[1]
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise UsageError(
            f"{what} {name} names a class in {place_of(module)}, got no such name as {attribute} "
            f"there; write package.module:Class"
        ) from None


def import_own(what: str, name: str, address: str) -> ModuleType:
    """Import what stands before the colon; UsageError says what was looked for, and where."""
    module = split_address(address, what)[0]
    here = _look_here()
    _refuse_never(what, name, module)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(what, name, module, error) from error
        raise UsageError(
            f"{what} {name} needs a module {module}, got none called {error.name} among the "
            f"installed packages or in {here}; install it, or type the command where "
            f"{module.replace('.', '/')}.py lies"
        ) from None
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise _broken(what, name, module, error) from error


def tell_file(module: ModuleType) -> str:
    """The file that a module comes from, and that file's digest."""
    path = getattr(module, "__file__", None)
    if path is None:
        return place_of(module)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
    return f"{path} (sha256 {digest})"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A module's file, found without importing it."""

    path: Path | None  # None where there is none, or none that can be read

    def first_line(self) -> str:
        """Of its docstring, without the full stop; "" when it has none."""
        if self.path is None or self.path.suffix != ".py":
            return ""
        try:
            doc = ast.get_docstring(ast.parse(self.path.read_bytes())) or ""
        except (OSError, SyntaxError, ValueError):  # said when it is used
            return ""
        return doc.partition("\n")[0].rstrip(".")


def file_of(module: str) -> SourceFile:
    """The file of a module; imports nothing."""
    _look_here()
    specs = list(_specs(module))
    found = specs[-1] if len(specs) == len(module.split(".")) else None
    return SourceFile(Path(found.origin) if found and found.has_location and found.origin else None)


def _look_here() -> str:
    """Have Python look into the working folder, as it is now; returns it."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # an installed command has its own folder there
        sys.path.insert(0, here)
    invalidate_caches()  # a module may have been written a moment ago
    return here


def _refuse_never(what: str, name: str, module: str) -> None:
    """UsageError when anything of it lies where no code may come from."""
    for spec in _specs(module):
        origin = [spec.origin] if spec.has_location and spec.origin else []
        for place in (*origin, *(spec.submodule_search_locations or ())):
            if any(form.is_relative_to(folder) for form in _forms(place) for folder in _NEVER):
                raise UsageError(
                    f"{what} {name} comes from an installed package or the working folder, never "
                    f"from the run or another folder that was handed over, got {place}; move the "
                    f"code or the recipe out of there, and type the command where it lies"
                )


def _forms(place: str) -> tuple[Path, Path]:
    """A file as it is called, and what it is when it is a link."""
    path = Path(place)
    return path.parent.resolve() / path.name, path.resolve()


def _specs(module: str) -> Iterator[ModuleSpec]:
    """The packages that importing a module goes through, and the module; imports none of them."""
    folders: list[str] | None = None
    for part in module.split("."):
        try:
            # By the last word alone: a folder without __init__.py would ask for its parent, which
            # is not imported.
            spec = find_spec(part) if folders is None else PathFinder.find_spec(part, folders)
        except ValueError:  # a module such as __main__, which is there already
            return
        if spec is None:
            return
        yield spec
        folders = list(spec.submodule_search_locations or ())


def place_of(module: ModuleType) -> str:
    """The file of an imported module, or its name where it has none."""
    return getattr(module, "__file__", None) or f"module {module.__name__}"


def _broken(what: str, name: str, module: str, error: BaseException) -> UsageError:
    return UsageError(
        f"{what} {name} needs a module that can be imported, got {type(error).__name__}: {error}; "
        f"try python -c 'import {module}'"
    )
