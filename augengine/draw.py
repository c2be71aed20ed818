"""The only place where anything is drawn: a policy and sample ids in, a plan out.

A plan is drawn before anything is decoded, from the image sizes in the index. Every number comes
from `rng.uniforms`, keyed by (seed, epoch, sample id, view, field), so a row of a plan is the same
in any batch, and a field is the same whatever the other fields' probabilities are.

Legend: B images, V views over all crop groups.
"""

from enum import IntEnum

import numpy as np

from augengine.backgrounds.donors import choose_backgrounds
from augengine.heavy.heavy_plan import HeavyPlan, counts, heavy_from_numbers
from augengine.plan import NO_SOLARIZE, ORDERS, Plan
from augengine.policy import MAX_GROUP_VIEWS, Policy, ViewPolicy
from augengine.rng import uniform_fields, uniforms
from augengine.windows import RULES, Numbers
from shards.errors import UsageError

NUM_TRIES = 10  # of a window that are drawn for every image


class Field(IntEnum):
    """The use of a number; a part of its key, so these values never change."""

    WINDOW = 0  # area and ratio of each try
    POSITION = 1
    FLIP = 2
    JITTER = 3  # gate, four factors, order
    GRAY = 4
    BLUR = 5  # gate, sigma
    SOLARIZE = 6
    VFLIP = 7
    ROTATE90 = 8  # gate, number of quarter turns
    BACKGROUND = 9  # gate, donor, three levels
    HEAVY = 10  # choice; of each op: which, sign, place
    TILES = 11


# Numbers drawn for each field.
_COUNTS: dict[int, int] = {
    Field.WINDOW: 2 * NUM_TRIES,
    Field.POSITION: 2,
    Field.FLIP: 1,
    Field.JITTER: 6,
    Field.GRAY: 1,
    Field.BLUR: 2,
    Field.SOLARIZE: 1,
}
# Drawn for policies that have the op: most have none.
_SELDOM: dict[int, tuple[str, int]] = {
    Field.VFLIP: ("vflip", 1),
    Field.ROTATE90: ("rotate90", 2),
    Field.BACKGROUND: ("background", 5),
}


def draw_plan(
    policy: Policy,
    ids: np.ndarray,  # [B] int - sample ids
    epochs: np.ndarray,  # [B] int - epoch of each
    image_sizes: np.ndarray,  # [B, 2] int - height, width of the upright images
    seed: int,
    has_mask: np.ndarray | None = None,  # [B] bool - for policies that change backgrounds
) -> Plan:
    """Draw what will happen to every view of these images.

    View i of group g is keyed by 64 g + i: changing the number of views of a group leaves all views
    that both settings share as they were. Only whose background a view gets depends on the other
    images: it is one of theirs (backgrounds/donors.py).

    Raises UsageError for a seed outside 64 bits, and for a policy that changes backgrounds where
    nothing is known of masks.
    """
    if policy.has_background and has_mask is None:
        raise UsageError(
            f"a background is told from the foreground by masks, got none for policy "
            f"{policy.name}; make its views of shards that have masks, or set background to null"
        )
    ids, epochs = np.asarray(ids, np.int64), np.asarray(epochs, np.int64)
    image_sizes = np.asarray(image_sizes, np.int32)
    if not ids.shape == epochs.shape == image_sizes.shape[:1]:
        raise ValueError(
            f"ids, epochs and image_sizes have one row an image, got shapes {ids.shape}, "
            f"{epochs.shape} and {image_sizes.shape}"
        )
    draws = _Draws(policy, ids, epochs, seed)
    brightness, contrast, saturation, hue, order = _draw_jitter(draws)
    window = _draw_window(draws, image_sizes)
    # Gate and sigma are two numbers of one field: sigma stays when the probability changes.
    blur = draws.uniforms(Field.BLUR)
    backgrounds = choose_backgrounds(
        draws.each("background"), draws.numbers_of(Field.BACKGROUND), ids, has_mask
    )
    sigma = draws.between(blur[..., 1], draws.each("sigma"))
    return Plan(
        ids=ids,
        epochs=epochs,
        image_sizes=image_sizes,
        window=window,
        flip=draws.happens(Field.FLIP, "flip"),
        vflip=draws.happens(Field.VFLIP, "vflip"),
        quarter_turns=_draw_turns(draws),
        **backgrounds,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
        order=order,
        gray=draws.happens(Field.GRAY, "gray"),
        sigma=np.where(blur[..., 0] < draws.each("blur"), sigma, 0),
        solarize=np.where(
            draws.happens(Field.SOLARIZE, "solarize"), draws.each("threshold"), NO_SOLARIZE
        ),
        group=np.array([group for group, _, _ in policy.flat_views]),
        size_px=np.array([size_px for _, size_px, _ in policy.flat_views]),
        kernel_px=np.array([kernel_taps(view, size_px) for _, size_px, view in policy.flat_views]),
        bicubic=draws.each("interpolation") == "bicubic",
        mean=policy.mean,
        std=policy.std,
        heavy=_draw_heavy(draws, policy),
    )


def kernel_taps(view: ViewPolicy, size_px: int) -> int:
    """Taps of the blur for one crop size: the policy's, or a tenth of the side made odd.

    At most 2 S - 1, beyond which a reflected border is not defined.
    """
    taps = view.kernel_px if view.kernel_px is not None else 2 * (size_px // 20) + 1
    return min(taps, 2 * size_px - 1)


class _Draws:
    """The policy's views side by side, and the numbers for these images."""

    def __init__(self, policy: Policy, ids: np.ndarray, epochs: np.ndarray, seed: int) -> None:
        self._views = [view for _, _, view in policy.flat_views]
        self._seed, self._epochs, self._ids = seed, epochs, ids
        self._keys = np.array(
            [
                MAX_GROUP_VIEWS * g + i
                for g, group in enumerate(policy.groups)
                for i in range(group.count)
            ]
        )
        seldom = {f: count for f, (name, count) in _SELDOM.items() if self.each(name).any()}
        self._numbers = uniform_fields(seed, epochs, ids, self._keys, _COUNTS | seldom)

    def uniforms(self, field: Field) -> np.ndarray:
        """[B, V, count of the field] float64 in [0, 1)."""
        return self._numbers[field]

    def numbers_of(self, field: Field) -> np.ndarray | None:
        """The same of a field that is seldom drawn; None where it was not."""
        return self._numbers.get(field)

    def further(self, rows: np.ndarray | slice, field: Field, count: int) -> np.ndarray:
        """[rows, V, count]: as many numbers of a field for some images, beginning with theirs."""
        return uniforms(self._seed, self._epochs[rows], self._ids[rows], self._keys, field, count)

    def numbers(
        self, tries: np.ndarray, position: np.ndarray, image_sizes: np.ndarray, views: np.ndarray
    ) -> Numbers:
        """The numbers that a crop rule makes the windows of some views of."""
        # int64: the area of 65535 x 65535 pixels, the most an index can say, exceeds 2^31.
        height, width = image_sizes.astype(np.int64).T[:, :, None, None]
        scale, ratio = (self.each(name)[:, views, None] for name in ("scale", "ratio"))
        return Numbers(tries[:, views], position[:, views], height, width, scale, ratio)

    def each(self, name: str) -> np.ndarray:
        """The policy's value for every view: [V], or [2, V] for a range."""
        return np.array([getattr(view, name) for view in self._views]).T

    def happens(self, field: Field, name: str) -> np.ndarray:
        """[B, V] bool - true with the policy's probability."""
        if field not in self._numbers:
            return np.zeros((len(self._ids), len(self._views)), bool)
        return self.uniforms(field)[..., 0] < self.each(name)

    @staticmethod
    def between(
        uniform: np.ndarray, bounds: np.ndarray | tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        low, high = bounds
        return low + uniform * (high - low)


def _draw_jitter(draws: _Draws) -> tuple[np.ndarray, ...]:
    """Brightness, contrast, saturation, hue, order: [B, V] each, neutral where the gate is shut."""
    # One gate for all four, as RandomApply([ColorJitter(...)]).
    numbers = np.moveaxis(draws.uniforms(Field.JITTER), -1, 0)
    applied = numbers[0] < draws.each("jitter")
    factors = []
    for uniform, name in zip(numbers[1:4], ("brightness", "contrast", "saturation"), strict=True):
        strength = draws.each(name)
        factor = draws.between(uniform, (np.maximum(0, 1 - strength), 1 + strength))
        factors.append(np.where(applied, factor, 1))
    hue = draws.between(numbers[4], (-draws.each("hue"), draws.each("hue")))
    order = (numbers[5] * len(ORDERS)).astype(np.uint8)
    # Neutral values, order included, so that plans that do the same have the same digest.
    return (*factors, np.where(applied, hue, 0), np.where(applied, order, 0))


def _draw_turns(draws: _Draws) -> np.ndarray:
    """[B, V] quarter turns, uniform over 0 to 3 where the gate is open, else 0."""
    applied = draws.happens(Field.ROTATE90, "rotate90")
    if not applied.any():
        return np.zeros(applied.shape, np.uint8)
    turns = (draws.uniforms(Field.ROTATE90)[..., 1] * 4).astype(np.uint8)
    return np.where(applied, turns, np.uint8(0))


def _draw_heavy(draws: _Draws, policy: Policy) -> HeavyPlan | None:
    """A heavy view of each of the first group's, by numbers of the key of its source."""
    if policy.heavy is None:
        return None
    first, (for_ops, for_tiles) = policy.groups[0], counts(policy.heavy)
    every = slice(None)
    numbers = draws.further(every, Field.HEAVY, for_ops)[:, : first.count]
    orders = draws.further(every, Field.TILES, for_tiles)[:, : first.count]
    return heavy_from_numbers(policy.heavy, numbers, orders, first.size_px)


def _draw_window(draws: _Draws, image_sizes: np.ndarray) -> np.ndarray:
    """[B, V, 4] int32 - each view's by the crop rule of its policy."""
    names = draws.each("crop")
    window = np.empty((*draws.uniforms(Field.WINDOW).shape[:2], 4), np.int32)
    for name in np.unique(names):
        rule, views = RULES[name], np.flatnonzero(names == name)
        # A position is a field of its own, not part of a try, so it needs drawing only once.
        tries = draws.uniforms(Field.WINDOW)[..., : 2 * rule.num_tries]
        fields = (tries, draws.uniforms(Field.POSITION))
        drawn, found = rule.windows(draws.numbers(*fields, image_sizes, views))
        if rule.num_tries > NUM_TRIES and not found.all():
            # Few images need the further tries, of which the first are those that they had.
            rows = np.flatnonzero(~found.all(axis=1))
            more = draws.further(rows, Field.WINDOW, 2 * rule.num_tries)
            fields = (more, fields[1][rows])
            drawn[rows], _ = rule.windows(draws.numbers(*fields, image_sizes[rows], views))
        window[:, views] = drawn
    return window
