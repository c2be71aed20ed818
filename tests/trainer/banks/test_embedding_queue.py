"""The queue of embeddings: order, growth, state."""

import torch

from trainer.banks.embedding_queue import EmbeddingQueue


def numbered(*numbers: int) -> torch.Tensor:
    """[B, 2] rows that say their number."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None].expand(-1, 2)


def test_first_in_first_out() -> None:
    """Newest rows in front, in the order of their batch; the oldest drop out, also in parts."""
    queue = EmbeddingQueue(5, 2)
    expected = [[0, 1], [2, 3, 0, 1], [4, 5, 2, 3, 0], [6, 7, 4, 5, 2]]
    for batch, numbers in zip(((0, 1), (2, 3), (4, 5), (6, 7)), expected, strict=True):
        queue.push(numbered(*batch))
        assert queue.rows[:, 0].tolist() == numbers
        assert queue.is_full == (len(numbers) == 5)


def test_a_batch_longer_than_the_queue_is_cut() -> None:
    """Of a batch that does not fit its first rows stay."""
    queue = EmbeddingQueue(3, 2)
    queue.push(numbered(0, 1, 2, 3, 4))
    assert queue.rows[:, 0].tolist() == [0, 1, 2]


def test_several_views_side_by_side() -> None:
    """[A, B, D]: every view has its own rows."""
    queue = EmbeddingQueue(3, 2)
    for start in (0, 10):
        queue.push(torch.stack([numbered(start, start + 1), numbered(start + 5, start + 6)]))
    assert queue.rows[..., 0].tolist() == [[10, 11, 0], [15, 16, 5]]


def test_starts_empty_or_full_of_random_unit_rows() -> None:
    """Random rows have length 1 and are no two alike; a length of 0 is never full."""
    assert EmbeddingQueue(4, 3).rows.shape == (0, 3)
    assert not EmbeddingQueue(0, 3).is_full
    queue = EmbeddingQueue(50, 3, random=True)
    assert queue.is_full
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(50))
    assert len(queue.rows.unique(dim=0)) == 50


def test_rows_are_copies_without_gradient_and_keep_their_type() -> None:
    """A push of half-precision rows in a graph leaves float32 rows of their own memory."""
    queue = EmbeddingQueue(4, 2)
    for _ in range(3):
        new = torch.ones(3, 2, requires_grad=True)
        queue.push(new.half())
        assert queue.rows.dtype == torch.float32
        assert not queue.rows.requires_grad
        # Bytes in memory are those of its rows: so are those in a checkpoint.
        assert queue.rows.untyped_storage().nbytes() == 4 * queue.rows.numel()
    alone = torch.zeros(4, 2)
    queue.push(alone)
    alone.fill_(9)
    assert queue.rows.max() == 0


def test_a_push_leaves_the_graph_of_the_former_rows_whole() -> None:
    """A loss against the queue may be backpropagated after the next push."""
    queue = EmbeddingQueue(4, 2, random=True)
    q = torch.ones(1, 2, requires_grad=True)
    former = queue.rows.clone()
    loss = (q @ queue.rows.T).sum()
    queue.push(numbered(1, 2))
    loss.backward()
    torch.testing.assert_close(q.grad, former.sum(0, keepdim=True))


def test_state_dict_takes_any_number_of_rows() -> None:
    """A full queue's rows load into an empty one, an empty one's into a full one."""
    full, empty = EmbeddingQueue(4, 2, random=True), EmbeddingQueue(4, 2)
    other = EmbeddingQueue(4, 2)
    other.load_state_dict(full.state_dict())
    assert torch.equal(other.rows, full.rows)
    full.load_state_dict(empty.state_dict())
    assert full.rows.shape == (0, 2)
