"""Objects of somebody's class, which is checked before it is called with what it asks for.

A class is given, of what its kind is made with, those arguments that its parameters name; with
**kwargs all of them. A function is refused: a recipe may name a class of the right form in a module
that is installed, and nothing else there is called.
"""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from shards.errors import UsageError
from shards.plugins.find import KINDS, find, find_module
from shards.plugins.importing import place_of

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_GATHERED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def find_class(
    kind: str,
    name: str,
    table: Mapping[str, str],
    *,
    also: Sequence[str] = (),  # further names that the caller knows, for the message
    base: type | None = None,  # that it inherits
    has: Sequence[str] = (),  # methods that it defines
) -> type[Any]:
    """The class that a name means, as `find` looks for it; UsageError for anything else."""
    found = find(kind, name, table, also)
    is_class = inspect.isclass(found)
    # Of its own: every class can be called, since that is what makes an object.
    members = {name for cls in found.__mro__ for name in vars(cls)} if is_class else set()
    absent = [method for method in has if method not in members]
    if is_class and not absent and (base is None or issubclass(found, base)):
        return found
    rule = f"that inherits {base.__module__}.{base.__qualname__}" if base else ""
    rule = rule or f"that defines {', '.join(has)}"
    got = f"a {type(found).__name__}" if not is_class else "a class that does not"
    got += f" (without {', '.join(absent)})" if is_class and absent else ""
    raise UsageError(
        f"{KINDS[kind]} {name} names a class {rule}, got {got} in "
        f"{place_of(find_module(kind, name, table))}; write package.module:Class"
    )


@dataclass(frozen=True, slots=True)
class NoSettings:
    """Of a class that declares none: it takes no key of its own."""


def find_settings(kind: str, name: str, table: Mapping[str, str], cls: type[Any]) -> type[Any]:
    """The dataclass of a class's own keys: `Settings` where it is named, or where it is defined.

    Raises:
        UsageError: `Settings` are something else.
    """
    named = find_module(kind, name, table)
    module = named if hasattr(named, "Settings") else sys.modules.get(cls.__module__, named)
    found = getattr(module, "Settings", NoSettings)
    if not (inspect.isclass(found) and is_dataclass(found)):
        raise UsageError(
            f"a {KINDS[kind]}'s Settings are a dataclass, got a {type(found).__name__} in "
            f"{place_of(module)}; decorate it with @dataclass(frozen=True, kw_only=True)"
        )
    return found


def parameters(cls: type) -> tuple[str, ...] | None:
    """The arguments that a class can be given by name; None: any."""
    found = _signature(cls)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found):
        return None
    return tuple(p.name for p in found if p.kind in _NAMED)


def make(kind: str, name: str, cls: type[Any], offered: Mapping[str, Any]) -> Any:
    """An object of the class, from those of the offered arguments that it names.

    Raises:
        UsageError: it asks for something that is not offered.
    """
    check_arguments(kind, name, cls, tuple(offered))
    taken = parameters(cls)
    return cls(**{key: offered[key] for key in offered if taken is None or key in taken})


def check_arguments(kind: str, name: str, cls: type[Any], offered: Sequence[str]) -> None:
    """UsageError when the class asks for something that is not offered, beforehand."""
    for parameter in _signature(cls):
        is_asked = parameter.default is parameter.empty and parameter.kind not in _GATHERED
        if is_asked and (parameter.name not in offered or parameter.kind not in _NAMED):
            raise UsageError(
                f"{KINDS[kind]} {name} is made with {', '.join(offered)}, each by its name where "
                f"the class has such a parameter, got one called {parameter.name}; give it a "
                f"default, or take it out"
            )


def require_attributes(kind: str, name: str, made: Any, attributes: Mapping[str, type]) -> None:
    """UsageError unless what was made has these attributes, of these types."""
    for attribute, wanted in attributes.items():
        value = getattr(made, attribute, None)
        if not isinstance(value, wanted):
            got = repr(value) if hasattr(made, attribute) else "none"
            raise UsageError(
                f"{KINDS[kind]} {name} has an attribute {attribute} of type {wanted.__name__}, got "
                f"{got[:80]}; set it when the object is made"
            )


def _signature(cls: type) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):  # a class written in C may not say: it is given nothing
        return []
