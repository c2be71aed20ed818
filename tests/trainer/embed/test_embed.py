"""`trainer.embed`: a row an image, whoever made it and however often the command was stopped."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty_server import FaultyServer
from made_run import made_run
from tiny_sets import write_set
from typed import typed

import trainer
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from shards.index import ShardIndex
from trainer.embed.__main__ import main as embed
from trainer.embed.feature_parts import FeatureParts, rows_of
from trainer.embed.feature_table import read_features, write_table
from trainer.embed.neighbours import NOBODY, nearest

SMALL = ["--batch-size", "4", "--part-images", "8", "--device", "cpu", "--backend", "kornia"]
SMALL += ["data.decoder=pillow"]


@pytest.fixture(scope="module")
def run(shard_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed") / "run"
    made_run(folder, shard_folder)
    return folder


def embedded(run: Path, data: Path, out: Path, *flags: str, code: int = 0) -> None:
    assert embed([str(run), "--data", str(data), "--out", str(out), *SMALL, *flags]) == code


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_image_has_a_row(
    suffix: str, dtype: str, run: Path, shard_folder: Path, tmp_path: Path
) -> None:
    """Number, name, key, shard, label and the encoder's features of its centre view, in order."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    out = tmp_path / f"f{suffix}"
    embedded(run, shard_folder, out, "--dtype", dtype)
    found, index = read_features(out), ShardIndex.open(shard_folder)
    ids = np.arange(len(index))
    assert np.array_equal(found.ids, ids)
    assert (found.names, found.keys) == (index.names(ids), index.keys(ids))
    assert found.shards == [index.shards[index.entry(i).shard].name for i in ids.tolist()]
    assert np.array_equal(found.labels, index.labels(ids))
    assert found.features.dtype == dtype
    encoder = trainer.load_encoder(run)
    views = iter_listed_views(
        index, CenterSquare(32), 64, backend="kornia", decoder="pillow", device="cpu"
    )
    with torch.no_grad():
        expected = encoder.module(next(views).crops[0][0]).numpy()
    tolerance = 1e-5 if dtype == "float32" else 2e-3
    np.testing.assert_allclose(found.features, expected, rtol=tolerance, atol=tolerance)
    assert found.facts["weights_sha256"] == encoder.digest()
    assert sorted(p.name for p in tmp_path.glob("f*.parts")) == []


def test_a_stopped_command_goes_on_and_the_bytes_are_the_same(
    run: Path, shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Stopped after two of five parts, then again among the neighbours; no part is made twice."""
    embedded(run, shard_folder, tmp_path / "whole.npy", "--neighbours", "3")
    made: list[tuple[int, int]] = []
    write = FeatureParts.write

    def stop_at(number: int) -> None:
        def write_and_stop(self: FeatureParts, part: int, rows: Any, neighbours: int = 0) -> None:
            if len(made) == number:
                raise KeyboardInterrupt
            made.append((neighbours, part))
            write(self, part, rows, neighbours)

        monkeypatch.setattr(FeatureParts, "write", write_and_stop)

    out = tmp_path / "f.npy"
    for number in (2, 7):
        stop_at(number)
        embedded(run, shard_folder, out, "--neighbours", "3", code=130)
        assert not out.exists()
    assert "goes on with the next part" in capsys.readouterr().err
    stop_at(-1)
    embedded(run, shard_folder, out, "--neighbours", "3")
    assert made == [*((0, n) for n in range(5)), *((3, n) for n in range(5))]
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    embedded(run, shard_folder, out, "--neighbours", "3")
    assert "complete already" in capsys.readouterr().out


@pytest.mark.slow
def test_two_ranks_make_the_same_bytes(run: Path, shard_folder: Path, tmp_path: Path) -> None:
    """torchrun's ranks share the parts; the file is one process's, byte by byte."""
    flags = f"--neighbours 2 {' '.join(SMALL)}"
    command = f"-m trainer.embed {run} --data {shard_folder} {flags} --out"
    ShardIndex.open(shard_folder)
    said = typed(f"torchrun --nproc-per-node 2 {command} two.npy", tmp_path)
    assert said.count("wrote two.npy: 37 images") == 1
    typed(f"python {command} one.npy", tmp_path)
    assert (tmp_path / "two.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()


def test_images_that_cannot_be_read_have_no_row(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole part of them, too; they are counted, and over the budget the command ends."""
    data = write_set(tmp_path / "set", [0, 1] * 14, torn=range(8, 16))
    embedded(run, data, tmp_path / "f.npy", "data.bad_budget=1.0")
    found = read_features(tmp_path / "f.npy")
    assert found.ids.tolist() == [*range(8), *range(16, 28)]
    assert "20 images, 512 features float16; 8 left out, since" in capsys.readouterr().out
    embedded(run, data, tmp_path / "g.npy", "data.bad_budget=0.0", code=1)
    assert not (tmp_path / "g.npy").exists()


def test_neighbours_are_the_nearest(tmp_path: Path) -> None:
    """Against all products at once, over parts of unequal sizes; fewer others leave -1."""
    parts, features = made_parts(tmp_path / "p", 37, 8, width=5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    products = unit @ unit.T
    np.fill_diagonal(products, -np.inf)
    expected = np.argsort(-products, axis=1)[:, :4]
    found = np.concatenate([nearest(parts, n, 4, torch.device("cpu")) for n in range(5)])
    assert np.array_equal(found["neighbours"], expected)
    np.testing.assert_allclose(
        found["similarities"], np.take_along_axis(products, expected, 1), rtol=1e-5
    )
    few, _ = made_parts(tmp_path / "few", 2, 8, width=5)
    found = nearest(few, 0, 3, torch.device("cpu"))
    assert found["neighbours"].tolist() == [[1, NOBODY, NOBODY], [0, NOBODY, NOBODY]]


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_writing_needs_memory_for_a_few_parts(suffix: str, tmp_path: Path) -> None:
    """Forty parts take no more than ten do, of arrays that Python knows of."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    peaks = []
    for number in (10, 40):
        parts, _ = made_parts(tmp_path / f"p{number}", number * 500, 500, width=64)
        tracemalloc.start()
        write_table(parts, tmp_path / f"f{number}{suffix}", parts.facts, lambda part: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def made_parts(
    folder: Path, num_images: int, part_images: int, width: int
) -> tuple[FeatureParts, np.ndarray]:
    """Parts of random features, and all of these, [N, width] float32."""
    facts = {"images": num_images, "part_images": part_images, "neighbours": 0}
    parts = FeatureParts(folder, facts)
    parts.prepare(overwrite=False)
    features = np.random.default_rng(0).standard_normal((num_images, width), np.float32)
    texts = [(name, "S12") for name in ("name", "key", "shard")]
    for part in range(parts.num_parts):
        ids = np.array(parts.ids(part))
        rows = np.zeros(
            len(ids), [("id", "<i8"), *texts, ("label", "<i4"), ("features", "<f4", (width,))]
        )
        rows["id"], rows["features"] = ids, features[ids]
        parts.write(part, rows)
    return parts, features


def test_names_of_any_length_are_kept(tmp_path: Path) -> None:
    """Parts with texts of other widths are joined without a cut; no row makes a part, too."""
    index = ShardIndex.open(write_set(tmp_path / "set", [0, 1, 2]))
    facts = {"images": 3, "part_images": 1, "neighbours": 0}
    parts = FeatureParts(tmp_path / "p", facts)
    parts.prepare(overwrite=False)
    parts.write(0, rows_of(index, np.empty(0, np.int64), np.empty((0, 2), np.float16)))
    for part in (1, 2):
        rows = rows_of(index, np.array([part]), np.ones((1, 2), np.float16))
        name = b"x" * 10**part
        wide = rows.astype(
            [(n, "S100" if n == "name" else rows.dtype[n]) for n in rows.dtype.names]
        )
        wide["name"] = name
        parts.write(part, wide if part == 2 else rows)
    assert write_table(parts, tmp_path / "f.npy", facts, lambda part: None) == 2
    assert read_features(tmp_path / "f.npy").names == ["000001", "x" * 100]


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--out", "f.txt"], "ends with .parquet or .npy"),
        (["--out", "no/such/f.npy"], "in an existing folder"),
        (["--neighbours", "-1"], "--neighbours lies in [0, 1024], got -1"),
        (["--batch-size", "0"], "--batch-size is at least 1"),
        (["loop.epochs=3"], "takes keys of data, got loop"),
        (["--dtype", "float8"], "--dtype is one of float16, float32"),
        (["data.workers=0"], "data.workers lies in"),
        (["--out", "/proc/f.npy"], "folder that may be written"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: list[str], part: str, run: Path, shard_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The rule, what was got; nothing is written."""
    monkeypatch.chdir(tmp_path)
    argv = [str(run), "--data", str(shard_folder), "--out", "f.npy", "--device", "cpu", *flags]
    assert embed(argv) in (1, 2)
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_features_of_another_run_are_not_mixed(
    run: Path, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Neither finished ones nor begun ones, nor torn ones; --overwrite replaces them."""
    out = tmp_path / "f.npy"
    other = tmp_path / "other"
    made_run(other, shard_folder, loop={"seed": 5, "batch_size": 8, "epochs": 1})
    embedded(run, shard_folder, out)
    before = out.read_bytes()
    capsys.readouterr()
    embedded(other, shard_folder, out, code=2)
    assert "with another weights_sha256" in capsys.readouterr().err
    embedded(run, shard_folder, out, "--neighbours", "2", code=2)
    assert "neighbours (0, not 2)" in capsys.readouterr().err
    assert out.read_bytes() == before
    out.write_bytes(before[:-1000])
    embedded(run, shard_folder, out, code=2)
    error = capsys.readouterr().err
    assert "replace it with --overwrite" in error
    assert error.count("\n") == 1
    embedded(run, shard_folder, out, "--overwrite")
    assert out.read_bytes() == before

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.embed.embed_run.write_table", stop)
    embedded(run, shard_folder, tmp_path / "g.npy", code=130)
    monkeypatch.undo()
    capsys.readouterr()
    embedded(other, shard_folder, tmp_path / "g.npy", code=2)
    assert "g.npy.parts with another weights_sha256" in capsys.readouterr().err
    facts = json.loads((tmp_path / "g.npy.parts" / "facts.json").read_text())
    assert facts["images"] == 37
    embedded(other, shard_folder, tmp_path / "g.npy", "--overwrite")
    assert read_features(tmp_path / "g.npy").facts["encoder"] == f"{other}, step 3"


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_shards_afar_give_the_same_bytes(
    mode: str, run: Path, indexed_folder: Path, tmp_path: Path,
    serve: Callable[..., FaultyServer],
) -> None:  # fmt: skip
    """Over HTTP, by whole shards or image by image, as from a disk; the facts name the address."""
    embedded(run, indexed_folder, tmp_path / "near.npy")
    server = serve(indexed_folder)
    out = tmp_path / "far.npy"
    argv = [str(run), "--data", server.url, "--out", str(out), *SMALL, f"data.remote={mode}"]
    assert embed(argv) == 0
    assert out.read_bytes() == (tmp_path / "near.npy").read_bytes()
    assert read_features(out).facts["data"] == server.url
