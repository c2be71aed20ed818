"""A class is a number from 0 or a name, whatever type it comes in; what is none has a reason."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import jpeg_of

from shards.index import ShardIndex
from shards.samples.image_header import ImageError
from shards.samples.labels import (
    NO_MEMBER,
    NoLabel,
    label_from_json,
    label_from_text,
    label_of,
    tell_alike,
    tell_unlabelled,
)
from shards.upkeep.folder_check import check_folder


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b"3\n", 3),
        (b" 07 ", 7),
        (b"+2", 2),
        (b"\xef\xbb\xbf4", 4),
        (b"2.0", 2),
        ("K\u00e4fer".encode(), "K\u00e4fer"),
        ("\u732b\n".encode(), "\u732b"),
        (b"+-3", "+-3"),
        (b"nan", "nan"),
        (b"v1.0", "v1.0"),
        (b"", NoLabel("an empty text")),
        (b" \n", NoLabel("an empty text")),
        (b"-1", NoLabel("a number below 0")),
        (b"-0.5", NoLabel("a fraction")),
        (b"0.73", NoLabel("a fraction")),
    ],
)
def test_a_text_is_a_number_a_name_or_neither(text: bytes, label: Any) -> None:
    """As in a `.cls`."""
    assert label_from_text(text) == label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (np.int8(5), 5),
        (np.uint64(5), 5),
        (np.float16(5), 5),
        (Decimal("5.0"), 5),
        ([5], 5),
        (["cat"], "cat"),
        (b"cat", "cat"),
        (None, NoLabel("nothing there")),
        (float("nan"), NoLabel("a fraction")),
        (float("inf"), NoLabel("a fraction")),
        (Decimal("0.5"), NoLabel("a fraction")),
        ([1, 2], NoLabel("no number or name but a list")),
        ({"a": 1}, NoLabel("no number or name but a dict")),
        (True, NoLabel("no number or name but a bool")),
    ],
)
def test_a_value_of_any_type(value: Any, label: Any) -> None:
    """As in a `.json`, or a column of a table."""
    assert label_of(value) == label


def test_a_json_without_a_label_tells_its_names() -> None:
    """So that who calls it otherwise sees why."""
    assert label_from_json(b'{"url": "x", "class": 3}') == NoLabel(
        "a .json without a label (of class, url)"
    )
    assert label_from_json(b"[5]") == NoLabel("a .json that holds no names")


def test_a_number_beyond_the_index_is_an_error() -> None:
    """It cannot be stored, and is not taken for nothing."""
    with pytest.raises(ImageError, match="at most 2,147,483,647"):
        label_of(1 << 31)


def test_images_without_a_class_are_counted(tmp_path: Path, make_tar) -> None:
    """By the reason, in the index's manifest and by the check; what says one first wins."""
    members = [("a.jpg", jpeg_of(1)), ("a.cls", b"-1"), ("b.jpg", jpeg_of(2)), ("b.cls", b"0")]
    members += [("c.jpg", jpeg_of(3)), ("c.json", b'{"class": 3}'), ("d.jpg", jpeg_of(4))]
    members += [("e.jpg", jpeg_of(5)), ("e.json", b'{"caption": "x"}')]
    members += [("f.jpg", jpeg_of(6)), ("f.cls", b""), ("f.json", b'{"label": 1}')]
    make_tar(tmp_path / "x.tar", members)
    index = ShardIndex.open(tmp_path)
    assert index.labels(np.arange(6)).tolist() == [-1, 0, -1, -1, -1, 1]
    told = (
        "4 of 6 images have no label (1: a number below 0; 2: a .json without a label (of class); "
        "1: no .cls or .json)"
    )
    assert index.manifest.made["notes"] == [told]
    report = check_folder(tmp_path)
    assert (report.problems, report.notes) == ((), (told,))


def test_a_set_that_has_no_labels_is_not_told_so() -> None:
    """Nothing was meant to be there."""
    assert tell_unlabelled(Counter({NO_MEMBER: 5}), 5) is None
    assert tell_unlabelled(Counter(), 5) is None
    assert tell_unlabelled(Counter({NO_MEMBER: 4}), 5) is not None


def test_names_that_look_alike_are_told() -> None:
    """Case, blanks and the two ways to write an accent; the rest is another class."""
    assert tell_alike(("cat", "dog", "cafe")) is None
    told = tell_alike(("Dog", "cat", "dog", "dog ", "\u00fcber", "u\u0308ber"))
    assert told is not None
    assert told.startswith("5 class names differ from another one only in case, blanks or the way")
    assert "'Dog' and 'dog' first" in told
