import json
import sys

import pytest
import torch
from PIL import Image

from shards.index import ShardIndex
from tools.profile_augment import main
from tools.profiling import augment_cases

QUICK = ["--views", "2+1", "--sizes", "16+8", "--batch-size", "4", "--seconds", "0.01"]
QUICK += ["--threads", "1", "--device", "cpu"]


class WrongBackend:
    """Black pictures: what a broken backend might give."""

    name, device, dtype = "kornia", torch.device("cpu"), torch.float32

    def __call__(self, images, plan):
        shapes = [
            (len(views), len(images), 3, *2 * (plan.size_px[views[0]],)) for views in plan.groups
        ]
        return tuple(torch.zeros(shape) for shape in shapes)


def profile(folder, *options):
    return main(["--data", str(folder), *QUICK, *options])


def test_table_and_json_have_every_row_with_conditions(shard_folder, tmp_path, capsys):
    """Decode alone, the backend alone and end to end; figures, stages, errors and conditions."""
    path = tmp_path / "profile.json"
    assert profile(shard_folder, "--backends", "kornia", "--json", str(path)) == 0
    report = json.loads(path.read_text())
    rows = ["decode alone", "augment alone, kornia", "end to end, kornia"]
    assert list(report["results"]) == rows
    assert all(row in capsys.readouterr().out for row in rows[:1])
    whole = report["results"]["end to end, kornia"]
    assert whole["images_per_s"] > 0
    assert whole["crops_per_s"] == pytest.approx(3 * whole["images_per_s"], rel=1e-2)
    assert whole["stages_ms_per_image"]["augment"] > 0
    assert report["errors_against_reference"]["kornia"]["mean_levels"] < 1
    assert report["data"]["images"] == 37
    assert report["settings"]["batch_size"] == 4
    assert report["conditions"]["cores"] >= 1


def test_the_picture_the_table_and_the_trace_are_written(shard_folder, tmp_path):
    """A PNG with a row a case, Markdown with the JSON's figures, a trace of the loader."""
    files = {name: tmp_path / f"profile.{name}" for name in ("json", "png", "markdown", "trace")}
    options = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    assert profile(shard_folder, "--backends", "kornia", *options) == 0
    results = json.loads(files["json"].read_text())["results"]
    with Image.open(files["png"]) as picture:
        assert picture.size[0] > 1000
        assert len(picture.getcolors(1 << 20) or []) > 50
    lines = files["markdown"].read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(results)
    last = results["end to end, kornia"]
    assert f"{last['images_per_s']:,.1f}" in lines[-1]
    assert f" {last['stages_ms_per_image']['augment']:.2f} |" in lines[-1]
    assert "augment" in lines[0]
    assert "transfer" not in lines[0]  # no case has it
    events = json.loads(files["trace"].read_text())["traceEvents"]
    assert {"loader, kornia"} == {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert {"read", "decode", "draw", "augment", "wait"} < {event["name"] for event in events}


def test_with_peers_ours_start_where_theirs_do(shard_folder, tmp_path, monkeypatch, capsys):
    """`from pixels`, `from bytes` and `end to end`; what the peers' Python lacks is named."""
    for name in ("lightly", "torchvision"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "profile.json"
    options = ["--backends", "kornia", "--peers-python", sys.executable, "--json", str(path)]
    assert profile(shard_folder, *options) == 0
    report = json.loads(path.read_text())
    kinds = ("augment alone", "from pixels", "from bytes", "end to end")
    assert list(report["results"]) == ["decode alone", *(f"{kind}, kornia" for kind in kinds)]
    from_bytes = report["results"]["from bytes, kornia"]["stages_ms_per_image"]
    assert set(from_bytes) == {"decode", "draw", "augment"}
    assert set(report["results"]["from pixels, kornia"]["stages_ms_per_image"]) < set(from_bytes)
    assert report["peers"]["versions"]["torch"]
    assert len(report["peers"]["left_out"]) == 6
    assert "end to end, lightly is left out: not installed" in capsys.readouterr().out


def test_a_wrong_backend_is_refused_before_anything_is_timed(shard_folder, monkeypatch, capsys):
    """A backend away from the reference ends the command: exit code 1, its error, no table."""
    monkeypatch.setattr(augment_cases, "create_backend", lambda *a, **k: WrongBackend())
    assert profile(shard_folder, "--backends", "kornia") == 1
    captured = capsys.readouterr()
    assert "wrong and not timed" in captured.err
    assert captured.out == ""


def test_a_data_set_smaller_than_the_batches_will_do(new_shards):
    """Three images and one of them corrupt: the good ones are used again."""
    folder = new_shards(num_samples=3)
    entry = ShardIndex.open(folder).entry(1)
    with open(folder / "train-000001.tar", "r+b") as file:
        file.seek(entry.offset)
        file.write(b"not a picture")
    assert profile(folder, "--backends", "kornia") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--backends", "dali,torch"), "'torch'"),
        (("--batch-size", "0"), "--batch-size"),
        (("--workers", "0"), "--workers"),
        (("--seconds", "0"), "--seconds"),
        (("--json", "/no/such/folder/p.json"), "in an existing folder"),
        (("--png", "stages.txt"), "ends with .png, got stages.txt; try --png stages.png"),
        (("--trace", "/"), "--trace is a file, got the folder /"),
        (("--png", "/no/such/folder/p.png"), "--png"),
        (("--peers-python", "/no/such/python"), "--peers-python"),
    ],
)
def test_wrong_options_are_usage_errors(shard_folder, capsys, options, message):
    """Exit code 2 and one line before any time is spent."""
    assert profile(shard_folder, *options) == 2
    assert message in capsys.readouterr().err
