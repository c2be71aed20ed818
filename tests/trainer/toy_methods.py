"""Settings that make each method small enough to train in a test: one line a method.

Batches are of 8, 12 or 16 images and epochs of 1 to 10 steps, so queues fill within a few steps.
"""

from typing import Any

TOY: dict[str, dict[str, Any]] = {
    "barlow": {"hidden_dim": 16, "out_dim": 8},
    "byol": {"hidden_dim": 16, "out_dim": 8, "momentum": 0.9},
    "dcl": {"out_dim": 8, "temperature": 0.5},
    "dclw": {"out_dim": 8, "temperature": 0.5},
    "dino": {
        "num_prototypes": 12, "hidden_dim": 16, "out_dim": 8, "freeze_epochs": 0.2, "momentum": 0.9,
        "head_norm": True, "warmup_epochs": 0.5,
    },
    "deepclusterv2": {
        "num_heads": 3, "num_prototypes": 5, "hidden_dim": 16, "out_dim": 8, "iterations": 3,
    },
    "distill": {"out_dim": 7, "temperature": 0.1},
    "empssl": {"hidden_dim": 16, "out_dim": 8, "invariance": 5.0},
    "exemplar": {"out_dim": 16, "dropout": 0.0},
    "fastmoco": {
        "hidden_dim": 16, "out_dim": 8, "predictor_dim": 8, "momentum": 0.9, "temperature": 0.2,
    },
    "fastsiam": {"out_dim": 16, "predictor_dim": 8, "projector_layers": 2},
    "instdisc": {"num_negatives": 6, "out_dim": 8, "temperature": 0.5},
    "lejepa": {"hidden_dim": 16, "out_dim": 8, "num_directions": 32},
    "mmcr": {"hidden_dim": 16, "out_dim": 8, "local": 0.1, "momentum": 0.9},
    "mocov1": {"out_dim": 8, "queue_length": 24, "groups": 4, "momentum": 0.9, "temperature": 0.5},
    "mocov2": {
        "out_dim": 8, "queue_length": 20, "groups": 4, "momentum": 0.9, "temperature": 0.5,
        "symmetric": True,
    },
    "mocov3": {"hidden_dim": 16, "out_dim": 8, "momentum": 0.9, "temperature": 0.5},
    "msf": {
        "hidden_dim": 16, "out_dim": 8, "neighbours": 3, "queue_length": 24, "groups": 4,
        "momentum": 0.9,
    },
    "nnclr": {
        "hidden_dim": 16, "out_dim": 8, "predictor_dim": 16, "queue_length": 24, "temperature": 0.5,
    },
    "relic": {"hidden_dim": 16, "out_dim": 8, "momentum": 0.9, "temperature": 0.5},
    "ressl": {
        "hidden_dim": 16, "out_dim": 8, "head_norm": True, "queue_length": 24, "groups": 4,
        "momentum": 0.9,
    },
    "sce": {
        "projector_layers": 2, "hidden_dim": 16, "out_dim": 8, "predictor_dim": 16,
        "temperature": 0.4, "key_temperature": 0.2, "queue_length": 24, "momentum": 0.9,
    },
    "sat": {"hidden_dim": 16, "out_dim": 8, "momentum": 0.9},
    "simclr": {"out_dim": 8, "temperature": 0.5},
    "simreg": {},
    "simsiam": {"out_dim": 16, "predictor_dim": 8, "projector_layers": 2},
    "sslhsic": {"hidden_dim": 16, "out_dim": 8, "momentum": 0.9, "width_rate": 0.02},
    "swav": {
        "num_prototypes": 12, "hidden_dim": 16, "out_dim": 8, "freeze_epochs": 0.2,
        "queue_length": 24, "queue_start_epoch": 0.3,
    },
    "tico": {"hidden_dim": 16, "out_dim": 8, "momentum": 0.9, "beta": 0.5, "rho": 2.0},
    "vicreg": {"hidden_dim": 16, "out_dim": 8, "invariance": 5.0, "variance": 5.0},
    "wmse": {"hidden_dim": 16, "out_dim": 3, "sub_batch": 4},
}  # fmt: skip
# Methods for which fewer than two global views will do.
MIN_GLOBAL_VIEWS: dict[str, int] = {
    "distill": 1, "exemplar": 1, "instdisc": 1, "sat": 1, "simreg": 1,
}  # fmt: skip
# Global views that the trained network does not see: keys and targets are its copy's.
UNSEEN_GLOBAL_VIEWS: dict[str, int] = {"mocov1": 1, "msf": 1, "ressl": 1}
# Images that the trained network sees in place of a global view: its patches.
PATCHES: dict[str, int] = {"fastmoco": 4}
