"""From photographs to views on other backgrounds and a trained encoder, as it is typed."""

from pathlib import Path

from story import SMALL, photo, write
from typed import typed

SWAP = '"policy.background={prob: 0.5, kind: swap}"'


def test_photographs_on_other_backgrounds(desk: Path, times: int) -> None:
    """Masks are made, packed, checked, shown, trained with and reported; without them it stops."""
    for i in range(24 * times):
        write(desk / "photos" / "ab"[i % 2] / f"{i}.jpg", photo(i, i % 2))
    typed("python tools/make_masks.py photos masks", desk)
    (desk / "masks/a/0.png").unlink()
    said = typed("python tools/make_shards.py photos set --masks masks", desk)
    assert f"{24 * times - 1} of {24 * times} images have a mask" in said
    assert "all is well" in typed("python tools/check_shards.py set", desk)
    show = "python tools/show_views.py --policy simclr --views 2 --sizes 32 --out views.png"
    typed(f"{show} --data set {SWAP}", desk)
    assert (desk / "views.png").stat().st_size > 1000
    run = f"python -m trainer.run --method simclr --views 2 --sizes 32 {SMALL} --batch-size 8"
    run += f" --epochs {times}"
    said = typed(f"{run} --data set --out runs/swap {SWAP}", desk)
    assert f"1 of {24 * times} images has no mask" in said
    typed("python -m trainer.report runs/swap", desk)
    typed("python tools/make_shards.py photos plain", desk)
    said = typed(f"{run} --data plain --out runs/none {SWAP}", desk, code=2)
    assert "needs images with masks" in said
    assert not (desk / "runs/none").exists()
    # Tars packed anew keep their masks.
    typed("python tools/make_shards.py set again", desk)
    typed(f"{show} --data again {SWAP}", desk)
