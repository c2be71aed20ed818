"""A source of one's own: a class by `package.module:Class` or an entry point, named by --source.

    class Mine:
        def __init__(self, spec, split=None): ...   # SOURCE and --split, as they are typed

It has what `Source` of raw.py has, and is made from those of `spec` and `split` that its parameters
name. Its samples go to worker processes, so a callable in one is of a module, no lambda.
"""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from shards.errors import UsageError
from shards.plugins.making import find_class, make
from shards.sources.raw import RawSample, Source

SOURCES: Mapping[str, str] = {}  # ours are told apart by what lies there, not by name
_ATTRIBUTES = ("kind", "classes", "labels", "names", "fingerprint", "stores_names")
_ATTRIBUTES += ("block_sizes", "notes")


def open_own(name: str, spec: str, split: str | None, image_key: str | None = None) -> Source:
    """The source, looked at as far as can be done without reading it.

    Raises:
        UsageError: there is no such class, or what it gives is no source.
    """
    cls = find_class("sources", name, SOURCES, has=("__len__", "__getitem__"))
    if image_key is not None:
        raise UsageError(
            f"--image-key is for tars and zips, got {image_key} with --source {name}; leave it out"
        )
    source = make("sources", name, cls, {"spec": spec, "split": split})
    for attribute in _ATTRIBUTES:
        _require(
            hasattr(source, attribute), name, f"has {attribute}", "none", f"define {attribute}"
        )
    _check(source, name)
    return source


def _check(source: Any, name: str) -> None:
    """Refuse what would fail late, or without a word."""
    labels, count = source.labels, len(source)
    is_array = isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.integer)
    got = f"{labels.dtype} {list(labels.shape)}" if is_array else type(labels).__name__
    fits = is_array and labels.shape == (count,)
    _require(fits, name, f"has labels as integers [{count}]", got, "give NO_LABEL where none is")
    print_ = source.fingerprint
    is_text = isinstance(print_, str) and bool(print_)
    _require(is_text, name, "has a fingerprint as text", print_, "use raw.fingerprint_of")
    if not count:
        return
    sample = source[0]
    is_sample = isinstance(sample, RawSample)
    _require(is_sample, name, "gives samples as RawSample", sample, "see shards/sources/raw.py")
    try:
        pickle.dumps(sample)
    except Exception as error:  # whatever a sample holds
        _require(False, name, "gives samples that can go to a process", error, "no lambda in them")


def _require(holds: bool, name: str, rule: str, got: object, remedy: str) -> None:
    if not holds:
        raise UsageError(f"a source {rule}, got {str(got)[:100]} from {name}; {remedy}")
