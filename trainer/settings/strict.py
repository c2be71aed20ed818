"""Nested mappings into frozen dataclasses: an unknown key or a wrong type is one clear line.

`config.py` merges a recipe, flags and `key=value` into one nested mapping; `build` turns that into
dataclasses, and `to_mapping` goes back, so that what is written to config.yaml is what ran.
"""

import math
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from augengine.yaml_text import YamlError, parse_yaml
from shards.errors import UsageError

T = TypeVar("T")
# Metadata of a field that names a file or a folder: train: str | None = field(..., metadata=PATH)
PATH: Mapping[str, Any] = types.MappingProxyType({"is_path": True})

# No setting is larger in earnest. Products of a few still fit into float32 and int64, a time into
# what the system can wait for, and nothing is divided by a 0 that was not said; past that each
# library has an error of its own, or hangs.
_MOST = {int: 2**32, float: 1e9}
_LEAST = 1e-12  # but for 0


def build(cls: type[T], values: object, where: str = "") -> T:
    """A dataclass from a mapping; `where` is the dotted path that messages name ("optim.")."""
    prefix = f"{where}." if where else ""
    all_fields = fields(cast(Any, cls))
    if not isinstance(values, Mapping):
        example = all_fields[0].name
        raise UsageError(
            f"{where or 'a config'} is a mapping of keys, got {_show(values)}; "
            f"write {prefix}{example}=VALUE"
        )
    hints = get_type_hints(cls)
    check_keys(values, hints, where)
    required = [f.name for f in all_fields if f.default is f.default_factory is MISSING]
    for name in required:
        if name not in values:
            raise UsageError(f"{prefix}{name} is required, got nothing; add {prefix}{name}=VALUE")
    return cls(**{key: coerce(hints[key], value, prefix + key) for key, value in values.items()})


def check_keys(values: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    """Refuse the first key that is not allowed, with the nearest one and the whole list."""
    for key in values:
        if key not in allowed:
            near = get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            place = f"in {where}" if where else "at the top level"
            raise UsageError(
                f"unknown key {str(key)!r} {place}; {hint}allowed: {', '.join(allowed)}"
            )


def coerce(hint: Any, value: object, where: str) -> Any:
    """`value` as the type `hint` says, or UsageError; never a lossy conversion."""
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    if get_origin(hint) in (Union, types.UnionType):
        return _coerce_union(get_args(hint), value, where)
    if get_origin(hint) is tuple:
        return _coerce_tuple(get_args(hint), value, where)
    if get_origin(hint) in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise UsageError(
                f"{where} is a mapping of keys, got {_show(value)}; write {where}.KEY=VALUE"
            )
        return dict(value)
    converted = _scalar(hint, value)
    if converted is None and hint is not type(None):
        name, example = _NAMES.get(hint, (str(hint), "VALUE"))
        raise UsageError(f"{where} is {name}, got {_show(value)}; write {where}={example}")
    if isinstance(converted, int | float):
        _check_size(hint, converted, where)
    return converted


def _check_size(hint: Any, number: float, where: str) -> None:
    most = _MOST.get(hint, math.inf)
    if abs(number) > most:
        raise UsageError(
            f"{where} is at most {most:,.0f} in size, got {number!r}; write a smaller one"
        )
    if 0 < abs(number) < _LEAST:
        raise UsageError(f"{where} is 0 or at least {_LEAST:g} in size, got {number!r}; write 0")


def to_mapping(config: object) -> Any:
    """A dataclass as nested plain dicts and lists, ready for YAML; inverse of `build`."""
    if is_dataclass(config):
        return {field.name: to_mapping(getattr(config, field.name)) for field in fields(config)}
    if isinstance(config, Mapping):
        return {key: to_mapping(value) for key, value in config.items()}
    return [to_mapping(item) for item in config] if isinstance(config, tuple) else config


def path_fields(cls: type) -> tuple[str, ...]:
    """The fields of a dataclass that name a file or a folder: those declared with PATH."""
    return tuple(f.name for f in fields(cls) if f.metadata.get("is_path"))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("optim.base_lr", 0.3), ...: the leaves of a nested mapping with their dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(base: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """A new mapping: `update` over `base`, level by level."""
    merged = dict(base)
    for key, value in update.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`optim.base_lr=0.3` as {"optim": {"base_lr": 0.3}}; the value is read as YAML."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(
            f"an override reads key=value, got {text!r}; for example optim.base_lr=0.3"
        )
    try:
        nested = parse_yaml(value)
    except YamlError as error:
        raise UsageError(
            f"the value of {path} must be YAML, got {value!r} ({error}); quote it or mend it"
        ) from None
    for key in reversed(keys):
        nested = {key: nested}
    return nested


_NAMES = {
    int: ("a whole number", "10"),
    float: ("a finite number", "0.1"),
    bool: ("true or false", "true"),
    str: ("a text", "TEXT"),
}


def _scalar(hint: Any, value: object) -> Any:
    """The value as int, float, bool or str where that loses nothing, else None."""
    if hint is bool:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or value is None:
        return None
    if hint is int:
        return value if isinstance(value, int) else None
    if hint is float:
        return _finite(value)
    return str(value) if hint is str and isinstance(value, (str, int, float)) else None


def _finite(value: object) -> float | None:
    """A finite float; YAML 1.1 reads 1e-3 (no dot) as text, which everyone means as a number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _coerce_union(members: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in members:
        return None
    others = [member for member in members if member is not type(None)]
    for member in others[:-1]:
        try:
            return coerce(member, value, where)
        except UsageError:
            continue
    return coerce(others[-1], value, where)


def _coerce_tuple(members: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UsageError(f"{where} is a list, got {_show(value)}; write {where}=[A, B]")
    hints = [members[0]] * len(value) if members[-1] is Ellipsis else list(members)
    if len(hints) != len(value):
        raise UsageError(f"{where} has {len(hints)} entries, got {_show(value)}")
    return tuple(
        coerce(hint, item, f"{where}[{i}]")
        for i, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _show(value: object) -> str:
    return f"{value!r} ({'null' if value is None else type(value).__name__})"
