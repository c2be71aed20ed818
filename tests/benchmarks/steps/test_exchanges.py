"""What ranks exchange in a step is what is written down, and what the document says."""

import importlib
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from benchmarks.steps import exchanges
from benchmarks.steps.exchanges import RESULTS, count_exchanges, refuse_others
from shards.errors import DataError
from trainer.distributed import data_parallel, gather_rows, gather_with_grad
from trainer.methods.method_table import METHODS

DOCS = Path(__file__).parents[3] / "docs"
KEPT = json.loads(RESULTS.read_text(encoding="utf-8"))["steps"]
QUICK = ("mocov1",)  # no batch norms to tell apart: one step


def test_every_method_stands_there() -> None:
    """But `distill`; `python -m benchmarks.steps.exchanges --methods NAME` adds one."""
    assert KEPT.keys() == METHODS.keys() - {"distill"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in KEPT]
)
def test_a_step_exchanges_what_is_kept(name: str) -> None:
    """Calls and bytes, to the last one."""
    refuse_others(name, count_exchanges(name), KEPT)
    assert not dist.is_initialized()


def test_another_count_is_refused() -> None:
    """One call more, a byte more, and a method that nobody has counted."""
    kept = KEPT["simclr"]
    refuse_others("simclr", kept, KEPT)
    calls, size = kept["method"]["all-gather"]
    for counts in ([calls + 1, size], [calls, size + 1]):
        found = {**kept, "method": {**kept["method"], "all-gather": counts}}
        with pytest.raises(DataError, match="a step of simclr exchanges what"):
            refuse_others("simclr", found, KEPT)
    with pytest.raises(DataError, match="for None; write it anew"):
        refuse_others("mine", kept, KEPT)


def test_known_exchanges_are_counted() -> None:
    """A gather of 3 x 4 floats each way among eight: 48 bytes there, 384 back."""
    with exchanges._fake_ranks(), exchanges.Count() as count:
        x = torch.ones(3, 4, requires_grad=True)
        gather_with_grad(x).sum().backward()
        gather_rows(x)
    assert exchanges._by_kind(count) == {"all-gather": [2, 96], "reduce-scatter": [1, 384]}


def test_ddp_exchanges_every_trained_parameter_once() -> None:
    """Its buckets hold the bytes that are written down as gradients, no frozen ones."""
    network = torch.nn.Sequential(*(torch.nn.Linear(300, 300) for _ in range(30)))
    network[0].weight.requires_grad_(False)
    given: list[int] = []

    def exchange(_: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        given.append(bucket.buffer().nbytes)
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    with exchanges._fake_ranks():
        model = data_parallel(network)
        model.register_comm_hook(None, exchange)
        model(torch.ones(2, 300)).sum().backward()
    assert sum(given) == sum(p.nbytes for p in network.parameters() if p.requires_grad)


def test_the_document_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/scale.md; `python docs/make.py exchanges` mends."""
    monkeypatch.syspath_prepend(str(DOCS))
    made = importlib.import_module("make").made("exchanges")
    assert made == (DOCS / "scale.md").read_text(encoding="utf-8")


def test_a_misspelt_method_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In one line, as is a check without a file; both write nothing."""
    monkeypatch.setattr(exchanges, "RESULTS", tmp_path / "none.json")
    assert exchanges.main(["--methods", "swaw"]) != 0
    assert "did you mean swav" in capsys.readouterr().err
    assert exchanges.main(["--methods", "swav", "--check"]) != 0
    assert "got none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
