"""Nearest rows against a search row by row."""

import torch

from trainer.banks.nearest_rows import nearest_rows
from trainer.nets.shapes import random_unit_rows


def test_they_are_those_of_a_search() -> None:
    """Nearest first, for every embedding of any leading shape, with their products."""
    rows, z = random_unit_rows(20, 6), random_unit_rows(8, 6).unflatten(0, (2, 4))
    found, cosines = nearest_rows(z, rows, 3)
    assert found.shape == (2, 4, 3, 6)
    for v in range(2):
        for b in range(4):
            ordered = sorted(rows, key=lambda row: -float(row @ z[v, b]))[:3]
            torch.testing.assert_close(found[v, b], torch.stack(ordered))
            torch.testing.assert_close(cosines[v, b], found[v, b] @ z[v, b])


def test_autocast_does_not_change_which() -> None:
    """Rows that bf16 could not tell apart are told apart under it."""
    z = torch.tensor([[1.0, 0.0]])
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.02], [1.0, 0.01], [1.0, 0.03]]))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = nearest_rows(z, rows)
    torch.testing.assert_close(found[0, 0], rows[1])
