"""The ideas that are tried, each as keys over benchmarks/minutes/base.yaml.

An idea is named by what it changes; the keys of those it stands on come first, so that a row says
the whole difference to the base. Which were tried, and what came of them, is in
benchmarks/results/minutes.json; an idea that is here and not there was not run.
"""

HALF = ("backbone.stem=half",)
WIDER = (*HALF, "backbone.width=0.375")
_MUON = ("optim.name=muon", "optim.base_lr=0.08", "optim.base_lr_1d=0.4", "optim.momentum=0.95")
MUON = (*WIDER, *_MUON)
_LOCAL = ("policy.sizes=32+16", "policy.groups=[{scale: [0.3, 1.0]}, {scale: [0.1, 0.4]}]")

IDEAS: dict[str, tuple[str, ...]] = {
    "base": (),
    # Width, depth, stem.
    "half-stem": HALF,
    "half-stem-0.375": WIDER,
    "half-stem-0.5": (*HALF, "backbone.width=0.5"),
    "imagenet-stem-0.5": ("backbone.stem=imagenet", "backbone.width=0.5"),
    "resnet18": (*WIDER, "backbone.arch=resnet18"),
    # More views of smaller sizes.
    "views-2+2": (*WIDER, "policy.views=2+2", *_LOCAL),
    "views-2+6": (*WIDER, "policy.views=2+6", *_LOCAL),
    "views-24px": (*WIDER, "policy.sizes=24"),
    # Rates, batches and schedules.
    "rate-x2": (*WIDER, "optim.base_lr=0.8"),
    "batch-128": (*WIDER, "loop.batch_size=128"),
    "one-cycle": (*WIDER, "optim.base_lr=0.8"),
    "adamw": (*WIDER, "optim.name=adamw", "optim.base_lr=0.004", "optim.weight_decay=0.01"),
    "muon": MUON,
    "muon-alone": _MUON,  # the base's encoder
    # What goes with Muon, which was the first to gain much.
    "muon-views-2+2": (*MUON, "policy.views=2+2", *_LOCAL),
    "muon-views-24px": (*MUON, "policy.sizes=24"),
    "muon-rate-x2": (*MUON, "optim.base_lr=0.16", "optim.base_lr_1d=0.8"),
    "muon-batch-128": (*MUON, "loop.batch_size=128", "optim.base_lr=0.04", "optim.base_lr_1d=0.2"),
    "muon-0.25": (*HALF, "backbone.width=0.25", *_MUON),
    "muon-0.5": (*HALF, "backbone.width=0.5", *_MUON),
    # Heads.
    "small-head": (*WIDER, "method.out_dim=32"),
    "large-head": (*WIDER, "method.out_dim=128"),
    # Other losses: FastSiam's mean targets, DCL without the positive in its denominator, heavier
    # weights for hard positives.
    "fastsiam": (
        *WIDER,
        "policy.views=4",
        "method={name: fastsiam, out_dim: 256, hidden_dim: 256, predictor_dim: 64, "
        "projector_layers: 2}",
        "optim.weight_decay=0.0005",
        "optim.decay_1d=true",
    ),
    "dcl": (*WIDER, "method.loss=dcl"),
    "hard-positives": (*WIDER, "method.loss=dclw"),
}
# Shares of the run that warm up, of ideas that say so.
WARMUPS = {"one-cycle": 0.3}
