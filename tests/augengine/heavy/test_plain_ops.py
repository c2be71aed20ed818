"""The reference's heavy ops are PIL's, to the level."""

import numpy as np
import pytest
from heavy_cases import MAGNITUDES, SIDES, of_pil, views

from augengine.heavy.heavy_ops import NAMES, OPS
from augengine.heavy.plain_ops import apply_op, shuffle_tiles

PLACES = ((0.0, 0.0), (0.3, 0.8), (0.999, 0.5))


@pytest.mark.parametrize("name", OPS)
def test_an_op_is_pils(name: str) -> None:
    """Every level of views of four sides, at six magnitudes with both signs, is PIL's."""
    number, op = NAMES.index(name), OPS[name]
    for side in SIDES:
        for x in views(side):
            for magnitude in MAGNITUDES:
                for sign in (1, -1) if op.is_signed else (1,):
                    # A plan holds float32.
                    amount = float(np.float32(sign * op.amount(magnitude)))
                    for place in PLACES if name == "cutout" else PLACES[:1]:
                        ours = apply_op(x, number, amount, place)
                        assert ours.dtype == np.uint8
                        theirs = of_pil(name, x, amount, place)
                        np.testing.assert_array_equal(ours, theirs, str((side, amount)))


def test_no_op_is_none() -> None:
    """Number 0 leaves a view as it is; 17 is not there."""
    (x, *_) = views(7)
    assert apply_op(x, 0, 1.0, (0.0, 0.0)) is x
    with pytest.raises(IndexError):
        apply_op(x, len(OPS) + 1, 1.0, (0.0, 0.0))


def test_the_table_is_the_codes() -> None:
    """Amounts at DSSL's magnitude 9, in the order of its list."""
    amounts = {name: round(op.amount(9), 6) for name, op in OPS.items()}
    assert amounts == {
        "auto_contrast": 0, "equalize": 0, "invert": 0, "rotate": 9, "posterize": 1.2,
        "solarize": 76.8, "solarize_add": 33, "color": 0.64, "contrast": 0.64,
        "brightness": 0.64, "sharpness": 0.64, "shear_x": 0.09, "shear_y": 0.09, "cutout": 12,
        "translate_x": 30, "translate_y": 30,
    }  # fmt: skip
    assert list(amounts) == list(NAMES[1:])
    assert sum(op.is_signed for op in OPS.values()) == 5


def test_tiles_go_where_the_plan_says() -> None:
    """Place t shows tile tiles[t]; a row and a column that are left over stay."""
    x = np.arange(25).reshape(5, 5, 1)
    y = shuffle_tiles(x, np.array([3, 0, 1, 2]))
    assert y[..., 0].tolist() == [
        [12, 13, 0, 1, 4], [17, 18, 5, 6, 9],
        [2, 3, 10, 11, 14], [7, 8, 15, 16, 19],
        [20, 21, 22, 23, 24],
    ]  # fmt: skip
    assert (shuffle_tiles(x, np.arange(4)) == x).all()
