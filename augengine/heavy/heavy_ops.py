"""The ops of RandAugment with their ranges, as DSSL has them: sixteen, on pixels of 0 to 255.

Cubuk et al. 2019, 1909.13719, in the form of tensorflow/tpu efficientnet/autoaugment.py that
Yif-Yang/DSSL (e342b33) has in augmentations/rand_aug_custom.py. The paper's list has the identity,
and neither invert, solarize_add nor cutout. Magnitude m of 30 is low + m / 30 (high - low), the
same for every image; of a signed op both signs are as likely. Offsets and sides are pixels whatever
the view's side is, as in the code: at magnitude 9 a translation is by 30.
"""

from dataclasses import dataclass

MAX_MAGNITUDE = 30


@dataclass(frozen=True, slots=True)
class OpRange:
    """The amount of an op at magnitude 0 and at MAX_MAGNITUDE."""

    low: float
    high: float
    is_signed: bool = False

    def amount(self, magnitude: float) -> float:
        """In the op's own units, before its sign."""
        return magnitude / MAX_MAGNITUDE * (self.high - self.low) + self.low


# A plan names an op by its place here, from 1: the order never changes.
OPS: dict[str, OpRange] = {
    "auto_contrast": OpRange(0, 0),
    "equalize": OpRange(0, 0),
    "invert": OpRange(0, 0),
    "rotate": OpRange(0, 30, is_signed=True),  # degrees, counter-clockwise
    "posterize": OpRange(0, 4),  # bits that stay, at least one
    "solarize": OpRange(0, 256),  # level from which on pixels are inverted: less is more
    "solarize_add": OpRange(0, 110),  # levels that are added, then solarize at 128
    "color": OpRange(0.1, 1.9),  # factors of PIL's ImageEnhance: 1 changes nothing
    "contrast": OpRange(0.1, 1.9),
    "brightness": OpRange(0.1, 1.9),
    "sharpness": OpRange(0.1, 1.9),
    "shear_x": OpRange(0, 0.3, is_signed=True),  # pixels across a row down, from the first row on
    "shear_y": OpRange(0, 0.3, is_signed=True),
    "cutout": OpRange(0, 40),  # pixels of the side of a gray square
    "translate_x": OpRange(0, 100, is_signed=True),  # pixels
    "translate_y": OpRange(0, 100, is_signed=True),
}
NO_OP = 0
NAMES: tuple[str, ...] = ("none", *OPS)  # by number
CUTOUT_COLOUR = (125, 123, 114)
