"""Rows in another order over all ranks, and back."""

import pytest
import torch

import trainer.nets.shuffle
from trainer.nets.shuffle import random_order, reorder


def test_order_is_a_permutation_of_the_step() -> None:
    """Every row once; the same step the same order, the next another."""
    order = random_order(50, step=3)
    assert sorted(order.tolist()) == list(range(50))
    assert torch.equal(order, random_order(50, step=3))
    assert not torch.equal(order, random_order(50, step=4))


def test_reorder_and_back() -> None:
    """Rows of any shape move whole, and the inverse order restores them."""
    rows = torch.arange(24.0).view(6, 2, 2)
    order = random_order(6, step=0)
    moved = reorder(rows, order)
    assert [row[0, 0].item() / 4 for row in moved] == order.tolist()
    assert not torch.equal(moved, rows)
    assert torch.equal(reorder(moved, order.argsort()), rows)


def test_ranks_share_the_order_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What three ranks get, one after the other, is the whole batch in that order."""
    rows = torch.arange(12.0)
    order = random_order(12, step=5)
    whole = reorder(rows, order)
    monkeypatch.setattr(trainer.nets.shuffle, "world_size", lambda: 3)
    monkeypatch.setattr(trainer.nets.shuffle, "gather_rows", lambda _: rows)
    parts = []
    for number in range(3):
        monkeypatch.setattr(trainer.nets.shuffle, "rank", lambda number=number: number)
        assert torch.equal(random_order(4, step=5), order)
        parts.append(reorder(rows[4 * number : 4 * number + 4], order))
    assert torch.equal(torch.cat(parts), whole)
