"""Which ranks share batch statistics, and what cannot be shared."""

from pathlib import Path

import pytest
from tiny_run import tiny_config

from shards.errors import UsageError
from trainer.build import build_parts
from trainer.recipes.recipe import read_recipe, resolve
from trainer.setup.sharednorm import ranks_that_share


@pytest.mark.parametrize(
    ("norm_images", "num_images", "num_ranks", "expected"),
    [
        (None, 4096, 64, 64),
        (512, 4096, 64, 8),  # SwAV's and DeepCluster v2's: 8 GPUs of 64 images
        (512, 4096, 8, 1),  # a rank of 512 images keeps to itself
        (512, 4096, 16, 2),
        (512, 512, 8, 8),
        (512, 256, 4, 4),  # no more than should share: all
        (512, 256, 1, 1),
        (8, 24, 6, 2),
    ],
)
def test_whole_ranks_share(
    norm_images: int | None, num_images: int, num_ranks: int, expected: int
) -> None:
    """As many neighbours as hold so many images, or all of them."""
    assert ranks_that_share(norm_images, num_images, num_ranks) == expected


@pytest.mark.parametrize(
    ("norm_images", "num_images", "num_ranks"),
    [(512, 4096, 4), (512, 4096, 1), (96, 256, 4), (8, 20, 5), (10, 15, 3)],
)
def test_what_whole_ranks_cannot_hold_is_refused(
    norm_images: int, num_images: int, num_ranks: int
) -> None:
    """A rank of more images, no whole number of ranks, or unlike groups: one line."""
    rule = f"loop.norm_images is what whole ranks hold.*got {norm_images} for {num_images:,} images"
    with pytest.raises(UsageError, match=rule) as error:
        ranks_that_share(norm_images, num_images, num_ranks)
    assert "\n" not in str(error.value)


def test_a_run_refuses_what_it_cannot_do(shard_folder: Path) -> None:
    """One rank cannot split its batch; MoCo's batch norms are of no two ranks."""
    with pytest.raises(UsageError, match="got 4 for 8 images a forward on 1 rank; try"):
        build_parts(tiny_config(shard_folder, loop={"norm_images": 4}))
    with pytest.raises(UsageError, match=r"got 4; leave it out: method mocov2 has method\.groups"):
        build_parts(tiny_config(shard_folder, "mocov2", loop={"norm_images": 4}))
    with pytest.raises(UsageError, match=r"loop\.norm_images is at least 2 or null, got 1"):
        tiny_config(shard_folder, loop={"norm_images": 1})


def test_the_recipes_say_it() -> None:
    """DeepCluster v2's 4,096 images share statistics by 512; SwAV's 256 all of them."""
    assert resolve(read_recipe("deepclusterv2")).loop.norm_images == 512
    assert resolve(read_recipe("swav")).loop.norm_images is None
