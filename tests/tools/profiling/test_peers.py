import sys
from importlib.metadata import version

import pytest
from PIL import Image

from augengine.policies import load_policy
from shards.errors import DataError, UsageError
from tools.profiling.measure import measure
from tools.profiling.peers import PEER_KINDS, Peers, peer_cases

LIGHTLY = """
import time, torch

class SwaVTransform:
    def __init__(self, sizes, counts):
        self.sizes = [s for s, n in zip(sizes, counts) for _ in range(n)]

    def __call__(self, picture):
        print("noise on stdout")
        open({log!r}, "a").write(f"{{picture.size[0]}}\\n")
        end = time.process_time() + 0.002
        while time.process_time() < end:
            pass
        return [torch.zeros(3, s, s) for s in self.sizes]

class SimCLRTransform(SwaVTransform):
    def __init__(self, size):
        super().__init__((size,), (2,))
"""


@pytest.fixture
def lightly(tmp_path, monkeypatch):
    """A stand-in for lightly on the worker's path; the file in which it notes each image."""
    package, log = tmp_path / "path" / "lightly", tmp_path / "log"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "transforms.py").write_text(LIGHTLY.format(log=str(log)))
    # timm brings torchvision, and these tests want a Python without it.
    (package.parent / "torchvision.py").write_text("raise ImportError('hidden')")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return log


@pytest.fixture
def images(tmp_path):
    """Four pictures, 10 to 13 pixels wide."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (10 + i, 9)).save(folder / f"{i}", "PNG")
    return folder


def start(tmp_path, images, policy, kinds=PEER_KINDS, processes=1):
    return Peers(sys.executable, peer_cases(policy, images, 3, processes, kinds), tmp_path)


def policy_of(name="swav", views=(1, 2), sizes=(16, 8)):
    return load_policy(name).with_views(views, sizes)


@pytest.mark.parametrize("processes", [1, 2])
def test_each_call_makes_one_batch_by_every_way(tmp_path, images, lightly, processes):
    """3 images a call, in turn, from pixels, from bytes and through a DataLoader; then all ends."""
    with start(tmp_path, images, policy_of(), processes=processes) as peers:
        cases = [case for case in peers.cases if case.name.endswith("lightly")]
        assert [case.name for case in cases] == [f"{kind}, lightly" for kind in PEER_KINDS]
        for case in cases:
            assert (case.images_per_call, case.crops_per_image) == (3, 3)
            lightly.write_text("")
            run = case.start()
            ahead = 2 * 2 * processes * 3 if case.name.startswith("end to end") else 0
            run.call()
            run.call()
            run.stop()
            seen = [int(width) for width in lightly.read_text().split()]
            assert 6 <= len(seen) <= 6 + ahead
            assert set(seen) == {10, 11, 12, 13}


def test_peers_are_timed_like_any_case(tmp_path, images, lightly):
    """2 ms of work an image is at least 2 ms of CPU time and at most 500 images a second."""
    with start(tmp_path, images, policy_of(), ("from pixels",)) as peers:
        result = measure(peers.cases[:1], seconds=0.3, num_rounds=2)[0]
    assert result.name == "from pixels, lightly"
    assert result.median < 500
    assert 1.9 < result.cpu_ms < 40
    assert result.as_json()["stages_ms_per_image"] == {}


def test_what_cannot_be_compared_is_left_out_with_its_reason(tmp_path, images, lightly):
    """A policy lightly has no transform for, or of which it makes other views; no torchvision."""
    with start(tmp_path, images, policy_of("simclr", (3,), (16,)), ("from pixels",)) as peers:
        assert peers.cases == []
        assert peers.left_out["from pixels, lightly"] == (
            "lightly makes views of [16, 16] px of it, not of [16, 16, 16] px"
        )
        assert "not installed" in peers.left_out["from pixels, torchvision v2"]
        assert peers.describe()["versions"]["torch"] == version("torch")
    own = policy_of()
    object.__setattr__(own, "name", "mine")
    with start(tmp_path, images, own, ("from bytes",)) as peers:
        assert "not for mine" in peers.left_out["from bytes, lightly"]


def test_a_python_that_does_not_run_is_a_usage_error(tmp_path):
    """One line with the path; a program that is no Python ends early, and that is said too."""
    with pytest.raises(UsageError, match=r"no/such/python"):
        Peers("/no/such/python", [], tmp_path)
    with pytest.raises(DataError, match="ended early"):
        Peers("/bin/true", [], tmp_path)
