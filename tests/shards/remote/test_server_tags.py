"""A remote tar that was uploaded again without its index is named; a copy of the set is not."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from afar import Serve, open_at

from shards.format import TIMES_NAME
from shards.remote import server_tags


@pytest.fixture(autouse=True)
def ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tags, "_ASKED_AGAIN_S", 0.0)


def upload(path: Path) -> None:
    """The same bytes at another time."""
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def test_a_tar_without_its_manifest_is_named(
    folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """At every start, with what to do; the run goes on with the index that there is."""
    server = serve(folder)
    fingerprint = open_at(server).fingerprint
    open_at(server)
    assert not caplog.records
    upload(folder / "train-000001.tar")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert open_at(server).fingerprint == fingerprint
        (record,) = caplog.records
        text = record.getMessage()
        assert "1 of 3 tars at" in text
        assert "(train-000001.tar)" in text
        assert "upload manifest.json and index.npy again" in text
    upload(folder / "manifest.json")  # now it was
    caplog.clear()
    open_at(server)
    open_at(server)
    assert not caplog.records


def test_a_set_that_was_uploaded_again_is_a_copy(
    folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """All of it has other times; nothing is said."""
    server = serve(folder)
    fingerprint = open_at(server).fingerprint
    for path in folder.iterdir():
        upload(path)
    assert open_at(server).fingerprint == fingerprint
    assert not caplog.records


def test_ranks_ask_once(folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that open the address within a minute take the first one's answer."""
    monkeypatch.setattr(server_tags, "_ASKED_AGAIN_S", 60.0)
    server = serve(folder)
    open_at(server)
    before = server.counts["requests"]
    open_at(server)
    assert server.counts["requests"] == before + 2


def test_a_large_set_is_asked_for_in_part(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request a tar would take minutes."""
    monkeypatch.setattr(server_tags, "_MOST_ASKED", 2)
    open_at(serve(folder))
    path = next((Path(os.environ["AUGENGINE_CACHE"]) / "indexes").rglob(TIMES_NAME))
    names = set(json.loads(path.read_text())["tars"])
    assert names == {"manifest.json", "train-000000.tar", "train-000002.tar"}


@pytest.mark.parametrize("content", ["", "[]", '{"index_sha256": 1}', '{"tars": {"a": 1}}'])
def test_a_server_that_says_nothing_and_a_damaged_file_are_nothing(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """No tag, no question answered: the set opens, and without a wait."""
    server = serve(folder)
    fingerprint = open_at(server).fingerprint
    path = next((Path(os.environ["AUGENGINE_CACHE"]) / "indexes").rglob(TIMES_NAME))
    path.write_text(content)
    assert open_at(server).fingerprint == fingerprint
    asked = []

    def refuse(self: Any) -> None:
        asked.append(self.path)
        self._send(501, {}, b"")

    monkeypatch.setattr(server._server.RequestHandlerClass, "do_HEAD", refuse)
    start = time.monotonic()
    assert open_at(server).fingerprint == fingerprint
    assert time.monotonic() - start < 3
    assert asked == ["/manifest.json"]
