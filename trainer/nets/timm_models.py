"""Encoders of timm by name: without classifier, and made so that they take every crop size.

A name says little of what its network takes: some fix the image size when they are made, some pad,
some need no word, and `num_features` is not always the width of what comes out. So the ways to make
one are tried in turn, each by a forward of blank images of every size, and the first is taken that
gives features [N, D] everywhere.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from shards.errors import UsageError
from shards.plugins.optional_library import optional_library
from trainer.checks import choose
from trainer.nets.batchnorm import adopt_batch_norm


def create_timm(name: str, sizes_px: tuple[int, ...]) -> nn.Module:
    """A randomly initialised timm model with an int attribute `feature_dim`.

    Its `timm_options` are the keywords that timm.create_model got besides num_classes=0.

    Args:
        name: of timm.list_models().
        sizes_px: sides of the crops, the largest first.

    Raises:
        UsageError: timm is not installed, has no such model, or one that takes other images.
    """
    timm = optional_library("timm", f"arch timm:{name}", "'timm>=1.0'")
    choose("timm architecture", name, timm.list_models())
    refusals, misfits = [], []
    for options in _ways(sizes_px[0]):
        # Each way starts from the same random state, so that a run's weights are its seed's.
        with torch.random.fork_rng(devices=[]):
            try:
                model = timm.create_model(name, num_classes=0, **options)
            except Exception as error:  # each of timm's models refuses in its own way
                refusals.append(_say(error))
                continue
            after = torch.get_rng_state()
        try:
            model.feature_dim = feature_width(model, sizes_px)
        except UsageError as error:
            misfits.append(str(error))
            continue
        torch.set_rng_state(after)
        model.timm_options = options
        return adopt_batch_norm(model)
    # Why one that was made does not serve says more than why another was not made; the last one was
    # made for these sizes if any was.
    reason = [*refusals, *misfits][-1]
    raise UsageError(f"timm:{name} cannot be the arch: {reason}, or another --arch")


def describe_options(network: nn.Module) -> str | None:
    """A sentence on how a timm model was made for its crops; None where nothing had to be said."""
    options = getattr(network, "timm_options", None)
    if not options:
        return None
    padded = "; crops are padded to whole patches" if "dynamic_img_pad" in options else ""
    words = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"arch: timm makes it with {words}{padded}"


def feature_width(network: nn.Module, sizes_px: tuple[int, ...]) -> int:
    """D of the features [N, D] that images of all these sides give.

    Tried in eval mode, without gradient: no weight, running statistic or random state changes.

    Raises:
        UsageError: a size is not taken, or gives something else than features of one width.
    """
    widths = {size_px: _width(network, size_px) for size_px in sizes_px}
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{width} at {size_px} px" for size_px, width in widths.items())
        raise UsageError(f"an encoder gives features of one width, got {found}; try --sizes alike")
    return widths[sizes_px[0]]


def _ways(size_px: int) -> Iterator[dict[str, Any]]:
    """Keywords of timm's models that have to do with image sizes, the plainest first."""
    dynamic = {"img_size": size_px, "dynamic_img_size": True}
    yield dynamic
    yield {}
    yield {**dynamic, "dynamic_img_pad": True}  # crops are padded to whole patches
    yield {"img_size": size_px, "strict_img_size": False}
    yield {"img_size": size_px}


def _width(network: nn.Module, size_px: int) -> int:
    rule = f"an encoder turns crops of {size_px} px into features [N, D]"
    remedy = "try --sizes that it takes (some take one only)"
    try:
        features = _features(network, size_px)
    except UsageError:
        raise
    except Exception as error:  # whatever a foreign forward raises
        raise UsageError(f"{rule}, got {_say(error)}; {remedy}") from error
    if not isinstance(features, torch.Tensor):
        raise UsageError(f"{rule}, got a {type(features).__name__}; {remedy}")
    if features.ndim != 2 or len(features) != 2 or not features.is_floating_point():
        shape = f"{features.dtype} of shape {list(features.shape)} from two images"
        raise UsageError(f"{rule}, got {shape}; {remedy}")
    return features.shape[1]


def _features(network: nn.Module, size_px: int) -> Any:
    modes = {module: module.training for module in network.modules()}
    parameter = next(network.parameters(), None)
    device = None if parameter is None else parameter.device
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return network.eval()(torch.zeros(2, 3, size_px, size_px, device=device))
    finally:
        for module, mode in modes.items():
            module.training = mode


def _say(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
