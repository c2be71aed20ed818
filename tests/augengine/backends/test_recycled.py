"""Recycled memory: never two holders, and reused once the last one is gone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from augengine.backends.recycled import ALIGNMENT, MAX_FREE, MAX_SIZES, RecycledMemory


def test_memory_comes_back_when_its_last_holder_is_gone() -> None:
    """A view, an array or a flat copy-free look keeps the memory; after them it is reused."""
    memory = RecycledMemory()
    for look in (lambda t: t[1:].T, lambda t: t.numpy()[2:], lambda t: t.flatten()):
        tensor = memory.empty((4, 5), torch.float32)
        address, holder = tensor.data_ptr(), look(tensor)
        del tensor
        assert memory.empty((4, 5), torch.float32).data_ptr() != address
        del holder
        found = [memory.empty((4, 5), torch.float32) for _ in range(MAX_FREE)]
        assert address in [tensor.data_ptr() for tensor in found]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_are_what_was_asked_for(dtype: torch.dtype) -> None:
    """Shape, type, contiguous and aligned."""
    for shape in ((2, 3, 7, 7, 3), (1,)):
        tensor = RecycledMemory().empty(shape, dtype)
        assert tuple(tensor.shape) == shape
        assert tensor.dtype == dtype
        assert tensor.is_contiguous()
        assert tensor.data_ptr() % ALIGNMENT == 0


def test_what_is_free_is_bounded() -> None:
    """Many batches gone at once, in many sizes, leave only a few blocks behind."""
    memory = RecycledMemory()
    for size in range(1, 40):
        held = [memory.empty((size,), torch.float32) for _ in range(10)]
        del held
    free = [block for blocks in memory._free.values() for block in blocks]
    assert len(free) <= MAX_SIZES * MAX_FREE


def test_threads_never_share_a_block() -> None:
    """Tensors written at the same time by several threads keep what was written."""
    memory = RecycledMemory()

    def use(number: int) -> bool:
        kept = [memory.empty((1000,), torch.float32).fill_(number) for _ in range(3)]
        return all(bool((tensor == number).all()) for tensor in kept)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(400)))
