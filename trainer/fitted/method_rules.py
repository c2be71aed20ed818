"""Rules of the fitted recipe by method: rate, views and own settings, by the run's scale.

fit_rule.py chooses the rest. A method of one's own has the general rule, `OTHER`, and its settings'
defaults. docs/recipes.md has the experiments.
"""

from trainer.fitted import statistics_rules as statistics
from trainer.fitted.rule_scale import FEW, HEAD, SHORT, Rule, Scale, Settings


def _contrast(scale: Scale) -> Settings:
    return {
        "out_dim": (scale.head(128, 64), HEAD),
        "temperature": (0.2, "small batches"),
    }


def _bootstrap(scale: Scale) -> Settings:
    return {
        "hidden_dim": (scale.head(4096, 256), HEAD),
        "out_dim": (scale.head(256, 64), HEAD),
        "momentum": (scale.momentum(0.996), SHORT),
    }


def _moco(scale: Scale) -> Settings:
    return {
        "out_dim": (scale.head(128, 64), HEAD),
        "temperature": (0.2, "small queues"),
        "queue_length": (scale.queue(65536, 0.05), "published share of the images, 4 batches"),
        "momentum": (scale.momentum(0.999), SHORT),
        "groups": (2 if scale.batch < 256 else 8, "parts of 32 images or more"),
    }


def _relic(scale: Scale) -> Settings:
    return _bootstrap(scale) | {"temperature": (0.2, "small batches")}


def _ressl(scale: Scale) -> Settings:
    return {
        "hidden_dim": (scale.head(4096, 256), HEAD),
        "out_dim": (scale.head(512, 64), HEAD),
        "head_norm": (True, "batch norm in the head, for short queues"),
        "queue_length": (scale.queue(131072, 0.15), "a sixth of the images, the demo recipe's"),
        "momentum": (scale.momentum(0.999), SHORT),
        "groups": (2 if scale.batch < 256 else 8, "parts of 32 images or more"),
    }


def _sce(scale: Scale) -> Settings:
    """As published for small images: one weak key, and no predictor."""
    why = "as published for CIFAR"
    return {
        "projector_layers": (2, why),
        "hidden_dim": (scale.head(2048, 256), HEAD),
        "out_dim": (scale.head(256, 64), HEAD),
        "projector_norm": (False, why),
        "predictor_dim": (None, why),
        "key_temperature": (0.05, why),
        "queue_length": (scale.queue(65536, 0.15), "a sixth of the images, the demo recipe's"),
        "momentum": (scale.momentum(0.99), SHORT),
        "final_momentum": (None, why),
        "symmetric": (False, why),
    }


def _msf(scale: Scale) -> Settings:
    return {
        "hidden_dim": (scale.head(4096, 256), HEAD),
        "out_dim": (scale.head(512, 64), HEAD),
        "neighbours": (5, FEW),
        "queue_length": (scale.queue(128000, 0.15), "a sixth of the images, the demo recipe's"),
        "momentum": (scale.momentum(0.99), SHORT),
        "groups": (2 if scale.batch < 256 else 4, "parts of 32 images or more"),
    }


def _mocov3(scale: Scale) -> Settings:
    return _bootstrap(scale) | {
        "temperature": (0.2, "small batches"),
        "momentum": (scale.momentum(0.99), SHORT),
    }


def _fastmoco(scale: Scale) -> Settings:
    return {
        "projector_layers": (2, "the demo recipe's, the only number tried"),
        "hidden_dim": (scale.head(2048, 256), HEAD),
        "out_dim": (scale.head(2048, 256), HEAD),
        "predictor_dim": (scale.head(512, 64), HEAD),
        "temperature": (0.2, "small batches"),
        "momentum": (scale.momentum(0.99), SHORT),
    }


def _swav(scale: Scale) -> Settings:
    number = scale.prototypes()
    return {
        "num_prototypes": (number, "three quarters of a batch"),
        "hidden_dim": (scale.head(2048, 256), HEAD),
        # More prototypes than dimensions, and fixed: else all embeddings can stand at right angles
        # to all prototypes, and the loss at ln K.
        "out_dim": (16 if number < 512 else 128, "fewer than prototypes"),
        "temperature": (0.2 if number < 512 else 0.1, "few prototypes"),
        "freeze_epochs": (1000.0, "fixed ones cannot all turn away from the data"),
    }


def _dino(scale: Scale) -> Settings:
    number = scale.prototypes()
    return {
        "num_prototypes": (number, "three quarters of a batch"),
        "hidden_dim": (scale.head(2048, 256), HEAD),
        "out_dim": (16, "fewer than prototypes"),
        "head_norm": (True, "batch norm in the head, for ResNets"),
        "freeze_epochs": (1000.0, "fixed ones cannot all turn away from the data"),
        "temperature": (0.2, "few prototypes"),
        "teacher_temperature": (0.05, "sharp from the start"),
        "warmup_epochs": (0.0, "sharp from the start"),
        "momentum": (scale.momentum(0.996), SHORT),
        "center_momentum": (0.5, "short run"),
    }


def _deepcluster(scale: Scale) -> Settings:
    return {
        "num_prototypes": (max(2, min(3000, scale.images // 64)), "64 images a cluster"),
        "hidden_dim": (scale.head(2048, 256), HEAD),
        "out_dim": (scale.head(128, 32), HEAD),
    }


def _nnclr(scale: Scale) -> Settings:
    return {
        "hidden_dim": (scale.head(2048, 256), HEAD),
        "out_dim": (scale.head(256, 64), HEAD),
        "predictor_dim": (scale.head(4096, 256), HEAD),
        "temperature": (0.2, "small batches"),
        "queue_length": (scale.queue(98304, 0.25), "a quarter of the images"),
    }


def _simsiam(scale: Scale) -> Settings:
    return {
        "out_dim": (scale.head(2048, 256), HEAD),
        "predictor_dim": (scale.head(512, 64), HEAD),
        "projector_layers": (2, "as published for CIFAR"),
    }


def _instdisc(scale: Scale) -> Settings:
    """Of few images every row of the bank is a negative, as the code's author advises for CIFAR."""
    if scale.images > 50_000:
        told = {"temperature": (0.2, FEW)}
    else:
        why = "as advised for CIFAR"
        told = {"num_negatives": (0, why), "temperature": (0.1, why)}
    return {"out_dim": (scale.head(128, 64), HEAD), **told}


def _exemplar(scale: Scale) -> Settings:
    return {"out_dim": (256, FEW), "dropout": (0.0, "short run")}


OTHER = Rule(lr=0.2)  # a method of one's own, and distillation
RULES = {
    "barlow": Rule(lr=0.02, muon=True, settings=statistics.square),
    "byol": Rule(lr=0.2, muon=True, warmup=0.1, settings=_bootstrap),
    "dcl": Rule(lr=0.4, settings=_contrast),
    "dclw": Rule(lr=0.4, settings=_contrast),
    "deepclusterv2": Rule(lr=0.4, muon=True, warmup=0.1, settings=_deepcluster),
    "dino": Rule(lr=0.2, muon=True, warmup=0.1, settings=_dino),
    "empssl": Rule(lr=0.05, settings=statistics.patches),
    "exemplar": Rule(lr=0.2, muon=True, views="2", settings=_exemplar),
    "fastmoco": Rule(lr=0.4, views="2", warmup=0.1, settings=_fastmoco),
    "fastsiam": Rule(lr=0.5, views="4", weight_decay=5e-4, decay_1d=True, settings=_simsiam),
    "instdisc": Rule(lr=0.12, muon=True, decay_1d=True, settings=_instdisc),
    "lejepa": Rule(lr=0.4, muon=True, settings=statistics.gaussian),
    "mmcr": Rule(lr=0.02, settings=statistics.centroids),
    "mocov1": Rule(lr=0.12, muon=True, warmup=0.1, settings=_moco),
    "mocov2": Rule(lr=0.12, muon=True, warmup=0.1, settings=_moco),
    "mocov3": Rule(lr=0.4, muon=True, warmup=0.1, settings=_mocov3),
    "msf": Rule(lr=0.2, policy="ressl", warmup=0.1, settings=_msf),
    "nnclr": Rule(lr=0.4, muon=True, settings=_nnclr),
    "relic": Rule(lr=0.4, muon=True, warmup=0.1, settings=_relic),
    "ressl": Rule(lr=0.2, muon=True, policy="ressl", warmup=0.1, settings=_ressl),
    "sce": Rule(lr=0.2, muon=True, policy="ressl", warmup=0.1, settings=_sce),
    "sat": Rule(lr=0.2, views="1", warmup=0.1, settings=_bootstrap),
    "simclr": Rule(lr=0.4, muon=True, settings=_contrast),
    "simreg": Rule(lr=0.4, views="1"),
    "simsiam": Rule(lr=0.5, muon=True, weight_decay=5e-4, decay_1d=True, settings=_simsiam),
    "sslhsic": Rule(lr=1.6, warmup=0.1, settings=_bootstrap),
    "swav": Rule(lr=0.2, muon=True, settings=_swav),
    "tico": Rule(lr=0.4, muon=True, settings=statistics.tico),
    "vicreg": Rule(lr=0.1, muon=True, settings=statistics.square),
    "wmse": Rule(lr=0.2, settings=statistics.whitened),
}
