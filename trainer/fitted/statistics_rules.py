"""Settings, by the run's scale, of methods whose loss is of a batch's statistics.

method_rules.py names them. The demo recipes are where their numbers come from.
"""

from trainer.fitted.rule_scale import HEAD, SHORT, Scale, Settings


def square(scale: Scale) -> Settings:
    """Barlow Twins' and VICReg's: a sum over the width's square, with which the rate goes."""
    why = "the rate was found for it"
    return {"hidden_dim": (256, why), "out_dim": (256, why)}


def gaussian(scale: Scale) -> Settings:
    """LeJEPA's. The demo recipe's head and rate were tried once, on the demo set; no others were.

    Their first four of eight epochs took kNN from 23.1 to 66.1 %.
    """
    return {
        "hidden_dim": (scale.head(2048, 256), HEAD),
        "out_dim": (64, "the demo recipe's, the only one tried"),
        "num_directions": (256, "the demo recipe's, the only number tried"),
    }


def tico(scale: Scale) -> Settings:
    """TiCo's: BYOL's widths."""
    return {
        "hidden_dim": (scale.head(4096, 256), HEAD),
        "out_dim": (scale.head(256, 64), HEAD),
        "momentum": (scale.momentum(0.99), SHORT),
    }


def whitened(scale: Scale) -> Settings:
    """W-MSE's: parts that a batch can fill."""
    number = max(1, min(64, scale.batch // 2))
    return {
        "hidden_dim": (scale.head(1024, 256), HEAD),
        "out_dim": (number, "half of what is whitened together, as published"),
        "sub_batch": (2 * number, "of a batch"),
    }


def centroids(scale: Scale) -> Settings:
    """MMCR's."""
    return {
        "hidden_dim": (scale.head(8192, 256), HEAD),
        "out_dim": (scale.head(512, 64), HEAD),
        "momentum": (scale.momentum(0.99), SHORT),
    }


def patches(scale: Scale) -> Settings:
    """EMP-SSL's."""
    out = scale.head(1024, 256)
    return {
        "hidden_dim": (scale.head(4096, 256), HEAD),
        "out_dim": (out, HEAD),
        "invariance": (
            200 * out / 1024,
            "as published, by out_dim: a larger one wins, and collapses",
        ),
    }
