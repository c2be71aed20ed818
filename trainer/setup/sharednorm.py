"""Shared batch statistics: all ranks have them in common, or groups that hold so many images.

Most published runs take them over the whole batch. SwAV's and DeepCluster v2's of 4,096 images take
them over 8 of 64 GPUs, 512 images; loop.norm_images says so on any number of ranks that can.
"""

from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.checks import require
from trainer.config import TrainConfig
from trainer.distributed import join_rank_group, world_size
from trainer.methods.protocol import Method
from trainer.nets.batchnorm import synchronize_batch_norm


def share_statistics(method: Method, config: TrainConfig) -> None:
    """Let the method's batch norms see the images of all ranks, or loop.norm_images of them.

    Collective: every rank calls it. Raises UsageError when they cannot.
    """
    loop = config.loop
    if not method.sync_batch_norm:
        rule = "loop.norm_images belongs to methods whose ranks share batch statistics"
        remedy = f"leave it out: method {config.method.name} has method.groups"
        require(loop.norm_images is None, rule, loop.norm_images, remedy)
        return
    world = world_size()
    shared = ranks_that_share(loop.norm_images, loop.batch_size // loop.accumulate, world)
    if shared == 1:
        return
    if shared < world:
        join_rank_group(shared, config.run.collective_seconds)
    synchronize_batch_norm(method, shared if shared < world else None)


def ranks_that_share(norm_images: int | None, num_images: int, num_ranks: int) -> int:
    """Neighbouring ranks with statistics in common, when a forward has `num_images` on all ranks.

    All of them for None, and for no more images than should share. Raises UsageError unless whole
    ranks, as many in every group, hold exactly `norm_images`.
    """
    if norm_images is None or num_images <= norm_images:
        return num_ranks
    shared, rest = divmod(norm_images * num_ranks, num_images)
    if rest or not shared or num_ranks % shared:
        raise UsageError(
            f"loop.norm_images is what whole ranks hold, as many in every group, got {norm_images} "
            f"for {counted(num_images, 'image')} a forward on {counted(num_ranks, 'rank')}; try "
            "loop.norm_images=null (all), other ranks or another --batch-size"
        )
    return shared
