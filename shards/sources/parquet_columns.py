"""The columns of a Parquet file that hold images and labels, whatever Arrow types they have.

An image is bytes of any kind (binary, large_binary, fixed_size_binary, binary_view), alone or as
`bytes` in a struct beside its `path`. A label is whatever `labels.label_of` makes a class of. Types
may be packed in a dictionary or an extension.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from shards.errors import UsageError
from shards.samples.image_header import ImageError
from shards.samples.labels import NoLabel, label_of, number_classes, tell_unlabelled

_IMAGE_COLUMNS = ("image", "img", "jpg", "png")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "cls", "target", "category")
_LABEL_COLUMNS += ("label_id", "class_id", "class_label")


def choose_columns(schema: Any, path: object) -> tuple[str, str | None]:
    """The image column and the label column, if any.

    Args:
        schema: Arrow's, of a file.
        path: of the file, for messages.

    Raises:
        UsageError: no column, or several, may be the images.
    """
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    plain = [field.name for field in schema if _is_binary(field.type)]
    images = structs or plain
    named = [name for name in _IMAGE_COLUMNS if name in (*structs, *plain)]
    if not named and len(images) != 1:
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        remedy = "rename the one you mean to image" if images else "write the images as bytes"
        raise UsageError(
            f"a Parquet file of images has a column image of bytes or of struct(bytes, path), got "
            f"{columns} in {path}; {remedy}"
        )
    image = (named or images)[0]
    declared = [name for name in schema.names if class_names(schema, name)]
    called = {name.lower(): name for name in reversed(schema.names)}
    known = [called[name] for name in _LABEL_COLUMNS if name in called]
    return image, next((name for name in (*known, *declared) if name != image), None)


def has_images(schema: Any) -> bool:
    """Whether a column is surely of images: by its struct, or bytes by their name."""
    kinds = {field.name: field.type for field in schema}
    named = any(_is_binary(kinds[name]) for name in _IMAGE_COLUMNS if name in kinds)
    return named or any(map(_is_image_struct, kinds.values()))


def class_names(schema: Any, column: str | None) -> tuple[str, ...]:
    """Names from the metadata that Hugging Face's `datasets` writes, empty without them."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, content["info"]["features"][column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def number_labels(
    values: Iterable[Any], names: tuple[str, ...]
) -> tuple[tuple[str, ...], np.ndarray, str | None]:
    """Classes of a label column.

    Args:
        values: [N] of any type, as Python has them.
        names: of class numbers, from elsewhere; used where they are enough.

    Returns:
        The class names, class numbers [N] int32, and a sentence on rows without a class.
    """
    labels: list[int | str | None] = []
    reasons: Counter[str] = Counter()
    for value in values:
        try:
            # A column of truths is one of two classes.
            label = label_of(int(value) if isinstance(value, bool) else value)
        except ImageError as error:
            label = NoLabel(str(error))
        if isinstance(label, NoLabel):
            reasons[label.why] += 1
        labels.append(None if isinstance(label, NoLabel) else label)
    numbers, classes = number_classes(labels, names)
    return classes, numbers, tell_unlabelled(reasons, len(labels))


def image_bytes(value: Any) -> tuple[bytes, str | None]:
    """Bytes and path of an image column's value; no bytes where a row only names a file."""
    path = None
    if isinstance(value, dict):
        value, path = value.get("bytes"), value.get("path")
    return value or b"", path


def has_paths(kind: Any) -> bool:
    """Whether an image column's values may have a path beside their bytes."""
    import pyarrow.types as types

    kind = _unwrapped(kind)
    return types.is_struct(kind) and kind.get_field_index("path") >= 0


def _is_image_struct(kind: Any) -> bool:
    import pyarrow.types as types

    kind = _unwrapped(kind)
    at = kind.get_field_index("bytes") if types.is_struct(kind) else -1
    return at >= 0 and _is_binary(kind.field(at).type)


def _is_binary(kind: Any) -> bool:
    # By name: older versions of pyarrow do not know all of them.
    name = str(_unwrapped(kind))
    return name in ("binary", "large_binary", "binary_view") or name.startswith("fixed_size_binary")


def _unwrapped(kind: Any) -> Any:
    while hasattr(kind, "storage_type") or hasattr(kind, "value_type"):
        inner = getattr(kind, "storage_type", None) or kind.value_type
        # A list has a type of values, too, and is no value.
        if str(kind).startswith(("list", "large_list", "fixed_size_list", "map")):
            return kind
        kind = inner
    return kind
