"""The memory bank: what a row becomes, ids that come twice, draws, and its state."""

import pytest
import torch

import trainer.banks.memory_bank
from trainer.banks.memory_bank import MemoryBank, last_of_each


def bank(num_images: int = 10, *row_shape: int, seed: int = 0) -> MemoryBank:
    torch.manual_seed(seed)
    made = MemoryBank(*(row_shape or (4,)))
    made.allocate(num_images)
    return made


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def test_starts_with_random_unit_rows() -> None:
    """A row an image, of length 1, no two alike; the same for the same torch seed."""
    rows = bank(10, 2, 4).rows
    assert rows.shape == (10, 2, 4)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(10, 2))
    assert len(rows[:, 0].unique(dim=0)) == 10
    assert torch.equal(rows, bank(10, 2, 4).rows)
    assert bank(seed=0).seed != bank(seed=1).seed


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_rows_move_towards_the_new_ones(momentum: float) -> None:
    """n(m old + (1 - m) new) for the images of the batch; the others stay."""
    memory, ids, new = bank(), torch.tensor([7, 2, 5]), unit(torch.randn(3, 4))
    old = memory.rows.clone()
    memory.update(ids, new, momentum)
    expected = unit(momentum * old[ids] + (1 - momentum) * new)
    torch.testing.assert_close(memory.rows[ids], expected)
    others = [0, 1, 3, 4, 6, 8, 9]
    assert torch.equal(memory.rows[others], old[others])


def test_an_id_that_comes_twice_takes_its_last_row_once() -> None:
    """Not moved twice, and not by the first: the result is that of the last entry alone."""
    memory, alone = bank(), bank()
    ids, new = torch.tensor([3, 8, 3, 1, 3]), unit(torch.randn(5, 4))
    memory.update(ids, new, 0.5)
    alone.update(ids[[1, 3, 4]], new[[1, 3, 4]], 0.5)
    assert torch.equal(memory.rows, alone.rows)
    assert last_of_each(ids).tolist() == [4, 1, 4, 3, 4]
    assert last_of_each(torch.tensor([5])).tolist() == [0]


def test_rows_carry_no_gradient_and_keep_their_type() -> None:
    """New rows may be in half precision and in a graph; the bank is float32 and out of it."""
    memory = bank()
    memory.update(torch.tensor([1]), torch.ones(1, 4, requires_grad=True).half())
    assert memory.rows.dtype == torch.float32
    assert not memory.rows.requires_grad
    torch.testing.assert_close(memory.rows[1], torch.full((4,), 0.5))


def test_draws_are_uniform_with_replacement_and_follow_the_step() -> None:
    """The same step draws the same ids, the next one others; every id about equally often."""
    memory = bank()
    first = memory.draw(100, 200, step=3)
    assert torch.equal(first, memory.draw(100, 200, step=3))
    assert not torch.equal(first, memory.draw(100, 200, step=4))
    counts = torch.bincount(first.flatten(), minlength=10)
    assert len(counts) == 10
    # 20,000 draws: 2,000 each, with a standard deviation of 42.
    assert (counts - 2000).abs().max() < 5 * 42


def test_ranks_share_the_draws_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two ranks draw, one after the other, is what one process draws for the whole batch."""
    memory = bank()
    whole = memory.draw(6, 5, step=2)
    monkeypatch.setattr(trainer.banks.memory_bank, "world_size", lambda: 2)
    parts = []
    for number in range(2):
        monkeypatch.setattr(trainer.banks.memory_bank, "rank", lambda number=number: number)
        parts.append(memory.draw(3, 5, step=2))
    assert torch.equal(torch.cat(parts), whole)


def test_state_dict_holds_rows_and_seed() -> None:
    """A bank of another seed goes on exactly as the saved one, draws included."""
    memory, other = bank(seed=0), bank(seed=1)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.rows, memory.rows)
    assert torch.equal(other.draw(4, 4, 1), memory.draw(4, 4, 1))
