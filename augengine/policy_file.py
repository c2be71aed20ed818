"""A policy from what a YAML file says: strict about keys, types and ranges, precise about where.

Called by `policies.load_policy` and `policies.override_policy`; nothing here reads a file. Errors
name the place, such as `my.yaml: groups[0]: views[1]: blur is a number, got 'often'`.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields
from difflib import get_close_matches
from typing import Any

from augengine.heavy.heavy_policy import HEAVY_OPS, Heavy
from augengine.policy import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Background,
    CropGroup,
    Policy,
    ViewPolicy,
)
from shards.errors import UsageError

POLICY_KEYS = ("source", "mean", "std", "heavy", "defaults", "groups")
GROUP_KEYS = ("count", "size_px", "views")
BACKGROUND_KEYS = tuple(field.name for field in fields(Background))
VIEW_FIELDS = {field.name: field for field in fields(ViewPolicy)}


def read_policy(document: object, name: str) -> Policy:
    """The policy of a parsed YAML document; `groups` and each view's `scale` must be there."""
    document = check_keys(document, POLICY_KEYS, "a policy")
    with at("defaults"):
        defaults = read_view_fields(document.get("defaults") or {})
    groups = []
    for g, group in enumerate(_items(document.get("groups"), "groups")):
        with at(f"groups[{g}]"):
            groups.append(read_group(group, defaults))
    return Policy(
        name=name,
        groups=tuple(groups),
        mean=read_channels("mean", document.get("mean", IMAGENET_MEAN)),
        std=read_channels("std", document.get("std", IMAGENET_STD)),
        source=_text("source", document.get("source", "")),
        heavy=read_heavy(document.get("heavy")),
    )


def read_view_fields(values: object) -> dict[str, Any]:
    """Fields of a ViewPolicy with their types checked (ranges are ViewPolicy's own business)."""
    values = check_keys(values, VIEW_FIELDS, "a view")
    return {key: _READERS[VIEW_FIELDS[key].type](key, value) for key, value in values.items()}


def read_channels(name: str, value: object) -> tuple[float, float, float]:
    """Three numbers, one a channel."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise UsageError(f"{name} is three numbers, one a channel, got {value!r}")
    red, green, blue = (_number(name, x) for x in value)
    return red, green, blue


def read_heavy(values: object) -> Heavy | None:
    """What makes heavy views, null for none; what is not said of an op is DSSL's."""
    if values is None:
        return None
    made = {}
    with at("heavy"):
        for name, given in check_keys(values, HEAVY_OPS, "heavy").items():
            own = {field.name: field.type for field in fields(HEAVY_OPS[name])}
            with at(name):
                if given is not None:
                    read = check_keys(given, own, name).items()
                    made[name] = HEAVY_OPS[name](**{k: _READERS[own[k]](k, v) for k, v in read})
        return Heavy(**made)


def group_values(group: CropGroup) -> dict[str, Any]:
    """A crop group as a file says it, with every field of every view."""
    views = [
        {key: _plain(value) for key, value in asdict(view).items() if _is_written(key, value)}
        for view in group.views
    ]
    return {"count": group.count, "size_px": group.size_px, "views": views}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _is_written(key: str, value: object) -> bool:
    """Views without it are written as before there was one."""
    return key != "background" or value is not None


def check_keys(values: object, allowed: Collection[str], what: str) -> Mapping[str, Any]:
    """The mapping itself; UsageError when it is none, or holds a key that is not allowed."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{what} is a mapping with keys {', '.join(allowed)}, got {values!r}")
    for key in values:
        if key not in allowed:
            close = get_close_matches(str(key), allowed, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ";"
            raise UsageError(f"unknown key {key!r} in {what}{hint} keys: {', '.join(allowed)}")
    return values


@contextmanager
def at(place: str) -> Iterator[None]:
    """Say where in the file an error is."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def read_group(group: object, defaults: Mapping[str, Any]) -> CropGroup:
    """A crop group, each view's fields over the defaults; `group_values` is the inverse."""
    values = check_keys(group, GROUP_KEYS, "a group")
    for key in GROUP_KEYS:
        if key not in values:
            raise UsageError(f"a group needs {', '.join(GROUP_KEYS)}, got none for {key}")
    views = []
    for v, view in enumerate(_items(values["views"], "views")):
        with at(f"views[{v}]"):
            views.append(_read_view(view, defaults))
    count, size_px = (_integer(key, values[key]) for key in ("count", "size_px"))
    return CropGroup(count=count, size_px=size_px, views=tuple(views))


def _read_view(view: object, defaults: Mapping[str, Any]) -> ViewPolicy:
    # Ranges are checked on the sum: a default may be impossible alone and never used.
    values = {**defaults, **read_view_fields(view)}
    for name, field in VIEW_FIELDS.items():
        if field.default is MISSING and name not in values:
            raise UsageError(f"a view needs {name}; give it here or in defaults")
    return ViewPolicy(**values)


def _items(value: object, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise UsageError(f"{name} is a list with at least one item, got {value!r}")
    return value


def _number(name: str, value: object) -> float:
    # YAML reads yes and on as true, which is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{name} is a number, got {value!r}")
    return float(value)


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{name} is a whole number, got {value!r}")
    return value


def _integer_or_null(name: str, value: object) -> int | None:
    return None if value is None else _integer(name, value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} is text, got {value!r}")
    return value


def _range(name: str, value: object) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UsageError(f"{name} is a range [low, high], got {value!r}")
    return _number(name, value[0]), _number(name, value[1])


def _background(name: str, value: object) -> Background | None:
    if value is None:
        return None
    values = dict(check_keys(value, BACKGROUND_KEYS, name))
    with at(name):
        if "prob" not in values:
            raise UsageError(f"needs prob, a probability in [0, 1], got {value!r}")
        values["prob"] = _number("prob", values["prob"])
        if "kind" in values:
            values["kind"] = _text("kind", values["kind"])
        if "fill" in values:
            values["fill"] = _fill(values["fill"])
        if values.get("kind", "remove") != "remove" and "fill" in values:
            # What is written out has it, neutral.
            _require_no_fill(values)
    return Background(**values)


def _require_no_fill(values: Mapping[str, Any]) -> None:
    if values["fill"] != Background(prob=0).fill:
        raise UsageError(f"fill is for kind remove, got kind {values['kind']}; leave it out")


def _fill(value: object) -> str | tuple[int, int, int]:
    if isinstance(value, str):
        return value
    levels = value if isinstance(value, list | tuple) else [value] * 3
    if len(levels) != 3:
        raise UsageError(f"fill is gray, color, a level 0 to 255, or three, got {value!r}")
    red, green, blue = (_integer("fill", level) for level in levels)
    return red, green, blue


# By the annotation of a field of ViewPolicy, or of Heavy's ops, so that a new one needs no entry.
_READERS: dict[Any, Callable[[str, object], Any]] = {
    float: _number,
    int: _integer,
    str: _text,
    tuple[float, float]: _range,
    int | None: _integer_or_null,
    Background | None: _background,
}
