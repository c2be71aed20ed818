"""A run of an earlier release, read as it was: defaults that have changed since are filled in.

A run's config.yaml and checkpoints hold every key of the config, but not what a policy's name or a
method's default stood for. Those below meant something else before, and a run that goes on, is
evaluated or is exported must keep what it began with. A recipe of one's own is read as of now.
"""

from collections.abc import Mapping
from typing import Any

# A key that every config written since has, and none before.
_NEW_KEY = ("loop", "norm_images")


def as_it_was(
    values: Mapping[str, Any],  # of a run's config.yaml, or of a checkpoint's config
) -> dict[str, Any]:
    """The mapping with the former defaults written out; a run of this release is left alone."""
    section, key = _NEW_KEY
    if key in (values.get(section) or {}):
        return dict(values)
    policy, method = dict(values.get("policy") or {}), dict(values.get("method") or {})
    # Policies byol and simclr had torchvision's crops.
    policy.setdefault("crop", "torchvision")
    if method.get("name") == "simsiam":
        # Hidden layers were as wide as the output.
        method.setdefault("hidden_dim", method.get("out_dim", 2048))
    return {**values, "policy": policy, "method": method}
