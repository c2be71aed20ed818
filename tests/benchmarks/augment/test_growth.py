import importlib
import json

import pytest
from PIL import Image

QUICK = ["--seconds", "0.001", "--rounds", "1"]


@pytest.fixture
def published():
    """benchmarks/augment/growth.py as a module."""
    return importlib.import_module("benchmarks.augment.growth")


@pytest.fixture
def growth(published, monkeypatch):
    """The same with two small points."""
    points = tuple(published.Point(n, (1, n), (16, 8), (24, 32), 2) for n in (0, 2))
    monkeypatch.setattr(published, "SWEEPS", {"local crops": points, "batch size": points})
    return published


@pytest.mark.slow
def test_every_point_is_measured_and_drawn(growth, tmp_path):
    """A row for each point, thread count and start; the picture has a column a curve."""
    out, png = tmp_path / "growth.json", tmp_path / "growth.png"
    assert growth.main([*QUICK, "--out", str(out), "--png", str(png)]) == 0
    report = json.loads(out.read_text())
    assert list(report["sweeps"]) == ["local crops", "batch size"]
    rows = report["sweeps"]["local crops"]
    kinds = ("from pixels", "from bytes")
    keys = {(row["x"], row["threads"], row["kind"]) for row in rows}
    assert keys == {(n, threads, kind) for n in (0, 2) for threads in (1, 2) for kind in kinds}
    assert all(row["images_per_s_min"] <= row["images_per_s"] for row in rows)
    assert all(row["ms_per_image"] > 0 for row in rows)
    assert report["conditions"]["cpu"]
    with Image.open(png) as picture:
        assert picture.size[0] > 700


def test_wrong_options_end_before_any_work(growth, capsys):
    """Exit code 2 and one line: an unknown curve, a folder that is not there."""
    assert growth.main(["--sweeps", "speed"]) == 2
    assert "local-crops, batch-size" in capsys.readouterr().err
    assert growth.main(["--png", "/no/such/folder/x.png"]) == 2
    assert "in an existing folder" in capsys.readouterr().err


def test_the_published_points_change_one_thing_each(published):
    """0 to 10 local crops; each curve but that of the crop's side passes through SwAV 2+6."""
    crops = published.SWEEPS["local crops"]
    assert [point.views[1] for point in crops] == [0, 1, 2, 4, 6, 8, 10]
    standard = {(2, 6), (224, 96), (375, 500), 32}
    for name in ("local crops", "image, megapixels", "batch size"):
        for point in published.SWEEPS[name]:
            changed = {point.views, point.sizes_px, point.image_px, point.batch_size} - standard
            assert len(changed) <= 1
