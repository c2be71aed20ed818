"""Methods of other people: `module:Class` in place of a name, from the working folder or installed.

The module is imported as Python imports anything, and never from a run's own folder: a run that was
handed over must not bring code that its evaluation runs.
"""

import hashlib
import importlib
import inspect
import os
import sys
from dataclasses import dataclass, is_dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shards.errors import UsageError

if TYPE_CHECKING:
    from trainer.methods.protocol import Method


@dataclass(frozen=True, slots=True)
class NoSettings:
    """Of a module that declares none."""


def is_plugin(name: object) -> bool:
    """Whether a method's name says where its class is."""
    return isinstance(name, str) and ":" in name


def load_class(name: str) -> "type[Method]":
    """The class of `module:Class`; UsageError says what was looked for and where."""
    from trainer.methods.protocol import Method  # loads torch, which a name alone does not need

    module, class_name = load_module(name), name.partition(":")[2]
    cls = getattr(module, class_name, None)
    if not (inspect.isclass(cls) and issubclass(cls, Method)):
        found = "no such name" if cls is None else f"a {type(cls).__name__}"
        if inspect.isclass(cls):
            found = "a class that is none"
        raise UsageError(
            f"method {name} names a class that inherits trainer.methods.protocol.Method, got "
            f"{found} in {module.__file__}; write module:Class"
        )
    return cls


def load_settings(name: str) -> type[Any]:
    """The `Settings` beside the class: a dataclass; without one the method takes no key."""
    load_class(name)  # a wrong class is named before its settings
    module = load_module(name)
    cls = getattr(module, "Settings", NoSettings)
    if not (inspect.isclass(cls) and is_dataclass(cls)):
        raise UsageError(
            f"a method's Settings are a dataclass, got a {type(cls).__name__} in "
            f"{module.__file__}; decorate it with @dataclass(frozen=True, kw_only=True)"
        )
    return cls


def load_module(name: str) -> ModuleType:
    """Import what stands before the colon; UsageError when that fails."""
    module, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), class_name)):
        raise UsageError(f"a method of one's own is named module:Class, got {name!r}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # an installed command has its own folder there
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise UsageError(
            f"method {name} needs a module {module}, got none called {error.name} among the "
            f"installed packages or in {here}; install it, or type the command where "
            f"{module.replace('.', '/')}.py lies"
        ) from None
    except Exception as error:  # whatever a module does when it is imported
        raise _broken(name, error) from error


def describe(name: str) -> str:
    """A line that says which file a method of one's own comes from; nothing of ours."""
    if not is_plugin(name):
        return ""
    path = Path(str(load_module(name).__file__))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return f"method {name} from {path} (sha256 {digest})\n"


def refuse_inside(run: Path, name: object) -> None:
    """UsageError when the module would come from a run's own folder; imports nothing."""
    if not (isinstance(name, str) and is_plugin(name)):
        return
    root = name.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(root, [os.getcwd(), *sys.path])
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    for place in places:
        if place is not None and Path(place).resolve().is_relative_to(run.resolve()):
            raise UsageError(
                f"a method's code comes from an installed package or the working folder, never "
                f"from the run, got {place} for {name}; type the command in another folder"
            )


def _broken(name: str, error: Exception) -> UsageError:
    return UsageError(
        f"method {name} needs a module that can be imported, got {type(error).__name__}: {error}; "
        f"try python -c 'import {name.partition(':')[0]}'"
    )
