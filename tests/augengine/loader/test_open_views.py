"""One call takes words, and gives the loader that the objects would have given."""

from pathlib import Path
from typing import Any

import pytest
from small_loader import assert_equal_views

import augengine
import augengine.loader.open_views as opening
from augengine.backends.create_backend import create_backend
from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy
from augengine.policy import Policy
from shards.cursor import Cursor
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.remote.address import DEFAULT_WINDOW_SHARDS

SMALL = {"views": "2+1", "sizes": "16+8", "batch_size": 8, "device": "cpu"}
SWAV = load_policy("swav").with_views((2, 1), (16, 8))


def take(loader: ViewLoader, count: int = 3) -> list:
    with loader:
        return [next(loader) for _ in range(count)]


@pytest.fixture(scope="module")
def expected(shard_folder: Path) -> list:
    """What the objects give."""
    index = ShardIndex.open(shard_folder)
    return take(ViewLoader(index, SWAV, batch_size=8, seed=0, device="cpu"))


@pytest.mark.parametrize("form", ["text", "path", "index"])
def test_data_is_a_folder_or_an_index(shard_folder: Path, expected: list, form: str) -> None:
    """By its name, as a path, or opened before; backend and decoder need no word."""
    data = {"text": str, "path": Path, "index": ShardIndex.open}[form](shard_folder)
    assert_equal_views(take(augengine.open_views(data, "swav", **SMALL)), expected)


def test_data_is_an_address(indexed_folder: Path, serve: Any) -> None:
    """Over HTTP, in the order that data at an address have."""
    order = ShardIndex.open(indexed_folder).windowed_order(0, DEFAULT_WINDOW_SHARDS)
    near = ViewLoader(
        ShardIndex.open(indexed_folder), SWAV, batch_size=8, seed=0, device="cpu", order=order
    )
    address = serve(indexed_folder).url
    assert "://" in address
    assert_equal_views(take(augengine.open_views(address, "swav", **SMALL)), take(near))


def test_data_is_the_demo_set(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name means the folder that the trainer packs, unless it is a path from somewhere."""
    asked: list[str] = []
    monkeypatch.setattr(opening, "data_folder", lambda name: asked.append(name) or shard_folder)
    for name in ("demo", "demo:test"):
        assert opening.open_data(name).directory == shard_folder
    assert asked == ["demo", "demo:test"]


@pytest.mark.parametrize("form", ["name", "file", "policy"])
def test_a_policy_is_a_name_a_file_or_a_policy(
    shard_folder: Path, expected: list, form: str, tmp_path: Path
) -> None:
    """Each of them may have other counts and sizes."""
    given: Any = "swav"
    if form == "file":
        given = tmp_path / "mine.yaml"
        shipped = Path(augengine.__path__[0]) / "policies" / "swav.yaml"
        given.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    elif form == "policy":
        given = load_policy("swav")
    assert_equal_views(take(augengine.open_views(shard_folder, given, **SMALL)), expected)


@pytest.mark.parametrize(
    ("views", "sizes", "groups"),
    [
        (None, None, [(2, 224), (6, 96)]),
        ("2+6", None, [(2, 224), (6, 96)]),
        ((2, 6), (64, 32), [(2, 64), (6, 32)]),
        ([3], None, [(3, 224)]),
        (2, 64, [(2, 64)]),
        ("0+4", "64+32", [(4, 32)]),
        (None, "64+32", [(2, 64), (6, 32)]),
    ],
)
def test_counts_and_sizes(views: Any, sizes: Any, groups: list[tuple[int, int]]) -> None:
    """As text, as numbers, or not at all: then they are the policy's own."""
    policy = opening.choose_policy("swav", views, sizes)
    assert [(group.count, group.size_px) for group in policy.groups] == groups


def test_further_arguments_are_the_loaders(shard_folder: Path, expected: list) -> None:
    """A cursor goes on; what made the views before makes them again; `index` and `policy` tell."""
    more: dict[str, Any] = {"cursor": Cursor(8), "num_workers": 1, "backend": "fused"}
    loader = augengine.open_views(shard_folder, "swav", **SMALL, **more)
    assert (len(loader.index), loader.policy) == (37, SWAV)
    assert_equal_views(take(loader, 2), expected[1:])
    made = create_backend("fused", "cpu")
    given = augengine.open_views(shard_folder, "swav", **SMALL, backend=made)
    assert_equal_views(take(given), expected)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"data": None}, "data is a folder of shards"),
    ({"data": ""}, "data is a folder of shards"),
    ({"data": 3}, "data is a folder of shards"),
    ({"data": ["a"]}, "data is a folder of shards"),
    ({"data": "nowhere"}, "nothing there"),
    ({"data": "demo:val"}, "splits are train, test"),
    ({"data": "ftp://a/b"}, "s3://"),
    ({"policy": "swavv"}, "did you mean 'swav'"),
    ({"policy": "mine.yaml"}, "no such policy file"),
    ({"policy": None}, 'write "swav"'),
    ({"policy": Policy}, 'write "swav"'),
    ({"views": "2-6"}, "joined by +"),
    ({"views": 0}, "at least one view"),
    ({"views": (2, 6, 1)}, "got views 2+6+1"),
    ({"views": 2.5}, "joined by +"),
    ({"sizes": 96}, "one size per count of views"),
    ({"sizes": "0+8"}, "at least 1 pixel"),
    ({"batch_size": 8.0}, "batch_size is a whole number"),
    ({"batch_size": "8"}, "batch_size is a whole number"),
    ({"batch_size": 0}, "positive multiple"),
    ({"seed": None}, "seed is a whole number"),
    ({"workers": 2}, "did you mean num_workers"),
    ({"index": 2}, "open_views has no argument index; it takes batch_size"),
    ({"backend": "fusd"}, "auto"),
    ({"device": "gpu"}, "a device is cpu, cuda"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_what_cannot_be_is_one_line(
    shard_folder: Path, wrong: dict[str, Any], words: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Rule, value and remedy, in a caller's words and not a command's; nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "cache"))
    arguments = {"data": shard_folder, "policy": "swav", **SMALL, **wrong}
    with pytest.raises((UsageError, DataError)) as caught:
        augengine.open_views(arguments.pop("data"), arguments.pop("policy"), **arguments)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert "--" not in message
    assert ";" in message or "," in message
    assert not list(tmp_path.iterdir())
