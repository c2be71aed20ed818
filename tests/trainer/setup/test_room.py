"""Methods that no memory holds are refused before they are made, and all that ship are weighed."""

from pathlib import Path

import pytest
from tiny_run import tiny_config
from toy_methods import TOY

from shards.errors import UsageError
from trainer.methods.method_table import METHODS, method_settings
from trainer.recipes.recipe import as_mapping, resolve
from trainer.settings.strict import merge
from trainer.setup import room
from trainer.setup.networks import build_method

ABSURD = {
    "barlow": {"hidden_dim": 10**7},  # its square is too large
    "swav": {"num_prototypes": 2**32},
    "mocov2": {"queue_length": 2**32},
    "dino": {"out_dim": 2**32},
    "deepclusterv2": {"num_heads": 2**32},
    "simsiam": {"out_dim": 2**32, "predictor_dim": 2**32},  # bytes without an int64
}


@pytest.mark.parametrize("method", ABSURD)
def test_what_no_memory_holds_is_refused(method: str, tmp_path: Path) -> None:
    """A line, not a kill by the system: weights, queues and centroids count."""
    values = merge(as_mapping(tiny_config(tmp_path, method)), {"method": ABSURD[method]})
    config = resolve(values)
    with pytest.raises(UsageError, match="weights and queues fit into memory, got"):
        build_method(config, config.policy.load())


@pytest.mark.parametrize("method", METHODS)
def test_the_weight_is_that_of_the_method(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many bytes free as parameters and buffers have are enough, one less is not."""
    config = tiny_config(tmp_path, method)
    made = build_method(config, config.policy.load())
    tensors = [*made.parameters(), *made.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    monkeypatch.setattr(room, "free_host_bytes", lambda: size)
    build_method(config, config.policy.load())
    monkeypatch.setattr(room, "free_host_bytes", lambda: size - 1)
    with pytest.raises(UsageError, match="that are free"):
        build_method(config, config.policy.load())


@pytest.mark.parametrize("method", METHODS)
def test_loops_in_a_method_have_an_end(method: str) -> None:
    """Settings that count rounds or layers are bounded, as they cost time, not memory."""
    for key in ("iterations", "projector_layers"):
        if hasattr(method_settings(method, TOY[method]), key):
            with pytest.raises(UsageError, match=f"{key} is at most 1"):
                method_settings(method, TOY[method] | {key: 10**9})
