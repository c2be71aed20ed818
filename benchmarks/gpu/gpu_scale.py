"""The sizes of the GPU check: as it is meant, and small, for a trial on a CPU."""

from dataclasses import dataclass

# The losses, and the batch statistics that ranks share, which one GPU has for itself.
LOSS_TESTS = (
    "tests/trainer/losses/test_losses_cuda.py",
    "tests/trainer/nets/test_rank_norm_cuda.py",
)


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of the check."""

    num_images: int = 256
    sizes: str = "224+96"
    profile_batch_size: int = 256
    seconds: float = 5  # of each row of the profile, and of either kind of training step
    loss_seconds: float = 1  # of each form of each loss
    workers: int = 8
    train_batch_size: int = 64
    train_steps: int = 10  # a window
    encoder: tuple[str, ...] = ("arch=resnet50",)
    mark: str = "gpu"
    chosen: str = ""  # part of a test's name; empty: all
    loss_tests: tuple[str, ...] = LOSS_TESTS
    losses: str = ""  # of benchmarks/losses/loss_problems.py; empty: all


FULL = Scale()
TRIAL = Scale(
    num_images=8,
    sizes="32+16",
    profile_batch_size=4,
    seconds=0.01,
    loss_seconds=0.01,
    workers=1,
    train_batch_size=4,
    train_steps=1,
    encoder=("arch=resnet10", "width=0.125", "stem=small"),
    mark="not gpu",
    chosen="wider_than_half",
    loss_tests=("tests/trainer/losses/test_fused_cosine.py",),
    losses="byol",
)
