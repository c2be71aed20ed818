"""lightly's side, where lightly is installed: the same losses, and a run to its end."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tiny_sets import write_set

from benchmarks.parity.agreement_run import agrees
from benchmarks.parity.image_files import unpack
from benchmarks.parity.shared_settings import PAIRS
from trainer.nets.resnet import ResNet

pytest.importorskip("lightly", reason="lightly lives in the peers' environment: make bench-peers")


# lightly's DINO head is made with it.
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("method", list(PAIRS))
def test_both_sides_compute_one_loss(method: str) -> None:
    """Value and gradient of one batch, or the sentence that says why there is no formula."""
    from benchmarks.parity.loss_agreement import asdict, compare

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = asdict(compare(method))
    finally:
        torch.set_default_dtype(before)
    assert agrees(found)


def test_the_peer_starts_with_our_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of almost 0 leaves the seed's weights, which are those that ours begins with."""
    from benchmarks.parity import peer_train

    monkeypatch.setattr(peer_train, "BATCH", 4)
    images = unpack(str(write_set(tmp_path / "set", [0, 1] * 20)), tmp_path / "images")
    words = ["--method", "mocov2", "--images", str(images), "--epochs", "1", "--seed", "3"]
    out = ["--workers", "0", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["peer_train", *words, *out])
    pair = PAIRS["mocov2"]
    monkeypatch.setitem(peer_train.PAIRS, "mocov2", type(pair)(lr=1e-12, temperature=0.2,
                        momentum=0.99, queue_length=40))  # fmt: skip
    peer_train.main()
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["steps"] == 10
    assert len(record["windows"]) == 1
    torch.manual_seed(3)
    began = ResNet(10, width=0.25, stem="small").state_dict()
    ended = torch.load(tmp_path / "out" / "encoder.pt", weights_only=True)
    assert began.keys() == ended.keys()
    for name, value in began.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(ended[name], value)
