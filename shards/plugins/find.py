"""One door: what a name means, whether it ships, is one's own, or comes with an installed package.

    swav                        a shipped name, in the table that the caller gives
    package.module:attribute    of the working folder, or of an installed package
    lion                        an entry point of the group augengine.KIND

Methods, terms, backbones, optimizers, backends, decoders, sources, loggers and saliency methods all
come through here. A shipped name is never anybody else's. What is imported, and from where never:
importing.py.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

from shards.errors import UsageError
from shards.plugins.entries import entries_of, entry_of
from shards.plugins.importing import attribute_of, file_of, import_own, split_address, tell_file

# Kinds by the last word of their entry points' group, and what one of them is called.
KINDS = {
    "methods": "method",
    "terms": "term",
    "backbones": "arch",
    "optimizers": "optimizer",
    "backends": "backend",
    "decoders": "decoder",
    "sources": "source",
    "loggers": "logger",
    "saliency": "saliency method",
}
# What is called so elsewhere and is none here, and why.
_NONE_HERE = {
    ("backends", "reference"): "the reference makes one view at a time, to look at and to be held "
    "against, by tools.show_views --backend reference or augengine.reference.render",
}
_MOST_SHOWN = 40  # names in one line of an error


def find(kind: str, name: str, table: Mapping[str, str], also: Sequence[str] = ()) -> Any:
    """The object that a name means.

    Args:
        kind: of KINDS.
        name: a key of `table`, `package.module:attribute`, or an entry point of augengine.KIND.
        table: what ships, as name: "module:attribute".
        also: further names that the caller knows, for the message.

    Raises:
        UsageError: there is none, it cannot be imported, or lies where no code may come from.
    """
    address = _address(kind, name, table, also)
    if name in table:  # ours: a fault in it is ours too, and keeps its traceback
        module, attribute = split_address(address)
        return getattr(import_module(module), attribute)
    return attribute_of(KINDS[kind], name, address)


def find_module(kind: str, name: str, table: Mapping[str, str]) -> ModuleType:
    """The module that the name's object is looked up in."""
    address = _address(kind, name, table, ())
    if name in table:
        return import_module(split_address(address)[0])
    return import_own(KINDS[kind], name, address)


def check_name(kind: str, name: str, table: Mapping[str, str], also: Sequence[str] = ()) -> str:
    """The name itself, where it can mean something; imports nothing.

    Raises:
        UsageError: it is neither shipped nor an entry point nor written package.module:attribute.
    """
    if name not in also:
        _address(kind, name, table, also)
    return name


def origin(kind: str, name: str, table: Mapping[str, str], also: Sequence[str] = ()) -> str:
    """A sentence that says which file somebody's own code is, importing it; "" for a shipped name.

    Raises:
        UsageError: as `find`.
    """
    if name in table:
        return ""
    address = _address(kind, name, table, also)
    attribute_of(KINDS[kind], name, address)
    by = "" if ":" in name else f" ({entry_of(kind, name).describe()})"
    return f"{KINDS[kind]} {name}{by} from {tell_file(import_own(KINDS[kind], name, address))}"


def first_line_of(address: str) -> str:
    """The first line of the docstring of an address's file, which is read and not imported."""
    return file_of(address.partition(":")[0]).first_line()


def _address(kind: str, name: str, table: Mapping[str, str], also: Sequence[str]) -> str:
    """The place of the name's object, as module:attribute."""
    if name in table:
        return table[name]
    if ":" in name:
        split_address(name, KINDS[kind])
        return name
    entries = entries_of(kind)
    if name in entries:
        return entry_of(kind, name).address
    known = [*also, *table, *entries]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    if why := _NONE_HERE.get((kind, name)):
        hint = f"{why}; "
    shown = known if len(known) <= _MOST_SHOWN else [*get_close_matches(name, known, 5, 0), "..."]
    raise UsageError(
        f"unknown {KINDS[kind]} {name!r}; {hint}known: {', '.join(shown) or 'none by name'}, "
        f"package.module:Class, and entry points of augengine.{kind} ({len(entries)} installed)"
    )
