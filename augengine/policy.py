"""The policy: what may happen to an image, as ranges and probabilities, never a drawn value.

A policy is a list of crop groups (global views, local views, ...). The views of one group share a
size and are stacked in one tensor; they may differ in everything else: view v of a group follows
`views[v % len(views)]`, which is how BYOL's two unlike global views are said. `draw.draw_plan`
turns a policy into a `Plan`; `policies.py` reads policies from YAML and ships the published ones.
"""

from dataclasses import dataclass, replace

from augengine.heavy.heavy_policy import Heavy
from augengine.plan import MAX_SIZE_PX
from shards.errors import UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic")
BACKGROUNDS = ("remove", "random", "swap")
FILLS = ("gray", "color")  # drawn for each view
CROPS = ("torchvision", "byol", "simclr")  # rules by which windows are drawn: windows.py
LEAST_COVERED = 0.1  # share of the image that crop simclr covers at least
MAX_STRENGTH = 100  # of brightness, contrast, saturation: all is black or white long before
MAX_GROUP_VIEWS = 64  # also the stride of the views' random keys (draw.py)
# PIL and torchvision solarize uint8 pixels >= 128; on [0, 1] floats that is 128/255, not 0.5.
SOLARIZE_THRESHOLD = 128 / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What may take the place of an image's background, which its mask tells (docs/plan.md)."""

    prob: float
    kind: str = "remove"  # random: the background of another image; swap: two images exchange
    # Of remove: a drawn gray or colour, a level 0 to 255, or three. Zero is what Ryali et al. take.
    fill: str | tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        _require(0 <= self.prob <= 1, "background prob is a probability in [0, 1]", self.prob)
        known = self.kind in BACKGROUNDS
        _require(known, f"background kind is one of {', '.join(BACKGROUNDS)}", self.kind)
        fill = self.fill
        holds = (
            fill in FILLS
            if isinstance(fill, str)
            else len(fill) == 3 and all(0 <= level <= 255 for level in fill)
        )
        rule = f"background fill is {', '.join(FILLS)}, a level 0 to 255, or three"
        _require(holds, rule, fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPolicy:
    """The ranges and chances of one view, in the order of the canonical meaning (reference.py).

    Strengths follow torchvision's ColorJitter: factors are drawn from [1 - x, 1 + x] (not below 0),
    hue from [-x, x] turns, and the four ops run in a random order with probability `jitter`.
    """

    background: Background | None = None  # needs masks
    scale: tuple[float, float]  # crop area as a fraction of the image's
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # crop width / height
    crop: str = "torchvision"  # rule by which windows are drawn: byol, simclr (windows.py)
    interpolation: str = "bilinear"  # antialiased either way
    flip: float = 0.5  # probability of a horizontal flip
    vflip: float = 0.0  # probability of a vertical flip
    rotate90: float = 0.0  # probability of a turn by 0, 90, 180 or 270 degrees, each as likely
    jitter: float = 0.0  # probability that the four colour ops apply
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # turns, at most 0.5
    gray: float = 0.0  # probability
    blur: float = 0.0  # probability
    sigma: tuple[float, float] = (0.1, 2.0)  # of the blur, in output pixels
    kernel_px: int | None = None  # odd taps of the blur; None: a tenth of the crop size, made odd
    solarize: float = 0.0  # probability
    threshold: float = SOLARIZE_THRESHOLD  # solarize inverts x >= threshold, x in [0, 1]

    def __post_init__(self) -> None:
        for name in ("flip", "vflip", "rotate90", "jitter", "gray", "blur", "solarize"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name} is a probability in [0, 1]", value)
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            _require(
                0 <= value <= MAX_STRENGTH, f"{name} is a strength, 0 to {MAX_STRENGTH}", value
            )
        _require(0 <= self.hue <= 0.5, "hue is a strength in turns, 0 to 0.5", self.hue)
        low, high = self.scale
        _require(0 < low <= high <= 1, "crop scale must satisfy 0 < low <= high <= 1", self.scale)
        _require(self.crop in CROPS, f"crop is one of {', '.join(CROPS)}", self.crop)
        rule = f"scale reaches {LEAST_COVERED}, which crop simclr covers at least (or another crop)"
        _require(self.crop != "simclr" or high >= LEAST_COVERED, rule, self.scale)
        # Wider than any image or crop can be.
        for name, least, most in (("ratio", 1e-4, 1e4), ("sigma", 0, MAX_SIZE_PX)):
            low, high = getattr(self, name)
            rule = f"{name} must satisfy {least:g} < low <= high <= {most:g}"
            _require(least < low <= high <= most, rule, (low, high))
        odd = self.kernel_px is None or (self.kernel_px > 0 and self.kernel_px % 2 == 1)
        _require(odd, "kernel_px is a positive odd number of taps, or null", self.kernel_px)
        known = self.interpolation in INTERPOLATIONS
        _require(known, f"interpolation is one of {', '.join(INTERPOLATIONS)}", self.interpolation)
        _require(0 <= self.threshold <= 1, "solarize threshold lies in [0, 1]", self.threshold)


@dataclass(frozen=True, slots=True)
class CropGroup:
    """Views of one size: `count` of them, each following its ViewPolicy in turn."""

    count: int
    size_px: int
    views: tuple[ViewPolicy, ...]

    def __post_init__(self) -> None:
        rule = f"a crop group has 1 to {MAX_GROUP_VIEWS} views"
        _require(1 <= self.count <= MAX_GROUP_VIEWS, rule, self.count)
        rule = f"a crop size is 1 to {MAX_SIZE_PX} pixels"
        _require(1 <= self.size_px <= MAX_SIZE_PX, rule, self.size_px)
        _require(len(self.views) > 0, "a crop group needs at least one view policy", self.views)


@dataclass(frozen=True, slots=True)
class Policy:
    """Crop groups in the order of `--views`, and the normalisation they share."""

    name: str
    groups: tuple[CropGroup, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    source: str = ""  # paper and code the numbers come from
    heavy: Heavy | None = None  # a further view of each of the first group's, made of it

    def __post_init__(self) -> None:
        _require(1 <= len(self.groups) <= 64, "a policy has 1 to 64 crop groups", len(self.groups))
        _require(len(self.mean) == 3, "mean has one number a channel, three", self.mean)
        _require(len(self.std) == 3, "std has one number a channel, three", self.std)
        # Of pixels in [0, 1]; float16 holds what is left after both.
        _require(all(-100 <= x <= 100 for x in self.mean), "mean lies in [-100, 100]", self.mean)
        _require(all(0.01 <= x <= 100 for x in self.std), "std lies in [0.01, 100]", self.std)

    @property
    def num_views(self) -> int:
        """Views of each image, over all groups."""
        return sum(group.count for group in self.groups)

    @property
    def has_background(self) -> bool:
        """Whether a view may lose its background, so that images need masks."""
        return any(view.background is not None for _, _, view in self.flat_views)

    def without_backgrounds(self) -> "Policy":
        """The same policy where every background is kept; its other draws are the same."""
        groups = tuple(
            replace(group, views=tuple(replace(view, background=None) for view in group.views))
            for group in self.groups
        )
        return replace(self, groups=groups)

    @property
    def flat_views(self) -> tuple[tuple[int, int, ViewPolicy], ...]:
        """Per view, in plan order: (group, size_px, ViewPolicy)."""
        return tuple(
            (g, group.size_px, group.views[v % len(group.views)])
            for g, group in enumerate(self.groups)
            for v in range(group.count)
        )

    def with_views(self, counts: tuple[int, ...], sizes: tuple[int, ...] | None = None) -> "Policy":
        """The same policy with other counts and sizes: `--views 2+6 --sizes 224+96`.

        Fewer counts than groups drop the last groups; 0 drops one. More counts than groups is an
        error, since nothing says what the further views should look like.
        """
        if len(counts) > len(self.groups):
            raise UsageError(
                f"policy {self.name} describes {len(self.groups)} crop groups, got --views "
                f"{'+'.join(map(str, counts))}; give at most {len(self.groups)} counts or another "
                "policy"
            )
        if sizes is not None and len(sizes) != len(counts):
            raise UsageError(
                f"--sizes needs one size per count of --views, got {'+'.join(map(str, sizes))} for "
                f"{'+'.join(map(str, counts))}"
            )
        sizes = sizes or tuple(group.size_px for group in self.groups)
        groups = tuple(
            replace(group, count=count, size_px=size)
            for group, count, size in zip(self.groups, counts, sizes, strict=False)
            if count
        )
        if not groups:
            raise UsageError("--views needs at least one view, got none; try --views 2+6")
        return replace(self, groups=groups)


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise UsageError(f"{rule}, got {value!r}")
