"""Checks of loop.accumulate against batch and loss, made before a run."""

from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.config import TrainConfig
from trainer.distributed import world_size
from trainer.methods.protocol import Method


def check_batch(config: TrainConfig, method: Method) -> None:
    """Refuse a batch that ranks and parts cannot share, and parts that change the loss."""
    batch, parts, world = config.loop.batch_size, config.loop.accumulate, world_size()
    if parts > 1 and method.batch_loss is not None:
        raise UsageError(
            f"loop.accumulate is 1 for {config.method.name}, whose loss has its "
            f"{method.batch_loss} from all images of a forward, got {parts} (it would see "
            f"{batch // parts} of {counted(batch, 'image')}); lower --batch-size instead"
        )
    forwards = parts * world
    if batch % forwards:
        near = [n for n in (batch // forwards * forwards, -(-batch // forwards) * forwards) if n]
        raise UsageError(
            f"--batch-size is a multiple of ranks x loop.accumulate, {world} x {parts}, got "
            f"{batch}; try {' or '.join(map(str, near))}"
        )
    method.check_images(batch // parts)


def describe_parts(config: TrainConfig) -> str | None:
    """A sentence about accumulation; None without it."""
    parts = config.loop.accumulate
    if parts == 1:
        return None
    return (
        f"{parts} forwards of {counted(config.loop.batch_size // parts, 'image')} a step: batch "
        f"norm's statistics are a forward's, and a queue or a center moves {parts} times a step"
    )
