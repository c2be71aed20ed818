"""From a config to its networks: the method that is trained, or the encoder alone.

Export and evaluation need the encoder and nothing else: no teacher whose file may be gone, no queue
or memory that may not fit here. What the seed gives is the same either way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from augengine.policy import Policy
from shards.errors import DataError, UsageError
from shards.terminal.counted import counted
from trainer.checkpoint import child_weights
from trainer.checks import require
from trainer.config import TrainConfig
from trainer.methods.method_table import METHODS, create_method, method_class
from trainer.methods.protocol import Method
from trainer.nets.backbones import BACKBONES, create_backbone
from trainer.nets.depth import freeze_first
from trainer.nets.finite import not_finite
from trainer.nets.shapes import shapes_only
from trainer.nets.timm_models import feature_width
from trainer.setup.room import check_room
from trainer.setup.teachers import Teacher, read_teachers
from trainer.terms.add_terms import add_terms
from trainer.terms.term_table import TERMS, read_terms

Weights = Mapping[str, torch.Tensor]
# Keys of `backbone` that say what it begins with, and what of it is trained.
_NOT_OF_THE_NETWORK = ("weights", "weights_part", "freeze_blocks")


def build_method(
    config: TrainConfig,
    policy: Policy,
    fill: Callable[[nn.Module], object] | None = None,  # puts given weights into the backbone
) -> Method:
    """The method with its backbone, on the CPU, with the weights that the seed gives.

    A backbone is filled, and its first blocks frozen, before the method copies it for a teacher.
    """

    def make(*, is_filled: bool = False) -> Method:
        backbone = build_backbone(config, policy)
        if is_filled and fill is not None:
            fill(backbone)
        if config.backbone.freeze_blocks:
            freeze_first(backbone, config.backbone.freeze_blocks)
        method = create_method(config.method.name, backbone, config.method.settings)
        if teachers:
            _hand_over(teachers, method, policy, is_filled=is_filled)
        group_sizes = tuple(group.count for group in policy.groups)
        method.check_views(group_sizes)
        add_terms(method, terms, policy, config.loop.seed)
        return method

    terms = read_terms(config.method.terms)
    teachers = read_teachers(config.method)
    frozen = config.backbone.freeze_blocks
    require(
        not frozen or config.backbone.weights is not None,
        "frozen blocks are given weights, or they stay at random: backbone.freeze_blocks goes with "
        "backbone.weights",
        f"freeze_blocks={frozen} alone",
        "add backbone.weights=FILE, or type backbone.freeze_blocks=0",
    )
    # A model of timm may not be made without its values, and has no width that could be mistyped.
    if not config.backbone.arch.startswith("timm:"):
        is_ours = config.backbone.arch in BACKBONES and config.method.name in METHODS
        is_ours = is_ours and all(term.name in TERMS for term in terms)
        check_room(make, is_ours=is_ours and all(teacher.is_ours for teacher in teachers))
    torch.manual_seed(config.loop.seed)
    method = make(is_filled=True)
    if method.encoder_name != type(method).encoder_name:
        raise UsageError(
            f"a method's encoder_name is said by its class, got {method.encoder_name!r} from one "
            f"object of {type(method).__name__}; an export reads it without building the method"
        )
    return method


def _hand_over(
    teachers: Sequence[Teacher],
    method: Method,
    policy: Policy,
    *,
    is_filled: bool,
) -> None:
    """Give the method its teachers; without their weights where it is only weighed."""
    sizes = sizes_px(policy)
    if not is_filled:
        method.take_teachers([teacher.shape(sizes) for teacher in teachers])
        return
    with torch.random.fork_rng(devices=[]):
        built = [teacher.build(policy, sizes) for teacher in teachers]
    method.take_teachers([network for network, _ in built])
    method.notes += tuple(told for _, told in built)


def build_backbone(config: TrainConfig, policy: Policy) -> nn.Module:
    """The untrained encoder of a config, from torch's current random state."""
    arguments = backbone_arguments(config, policy)
    try:
        backbone = create_backbone(**arguments)
    except UsageError as error:
        sides = {arguments["image_size_px"], *arguments["other_sizes_px"]}
        unseen = sorted(sides - {group.size_px for group in policy.groups})
        if not unseen:
            raise
        # The command names views only.
        parts = ", ".join(map(str, unseen))
        raise UsageError(
            f"{error} ({config.method.name} makes images of {parts} px of them)"
        ) from None
    if config.eval.size_px is not None:
        feature_width(backbone, (config.eval.size_px,))
    return backbone


def backbone_arguments(config: TrainConfig, policy: Policy) -> dict[str, Any]:
    """The arguments of `create_backbone`, as plain values."""
    of_groups = tuple(group.size_px for group in policy.groups)
    seen = method_class(config.method.name).seen_sizes(of_groups)
    keys = {k: v for k, v in asdict(config.backbone).items() if k not in _NOT_OF_THE_NETWORK}
    return keys | _sides(seen)


def sizes_px(policy: Policy) -> dict[str, Any]:
    """Of these arguments those that say the sides of the views."""
    return _sides(group.size_px for group in policy.groups)


def _sides(sizes_px: Iterable[int]) -> dict[str, Any]:
    largest, *others = sorted(set(sizes_px), reverse=True)
    return {"image_size_px": largest, "other_sizes_px": tuple(others)}


def encoder_weights(config: TrainConfig, state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Of a checkpoint's tensors those of the child that is evaluated and exported.

    Raises:
        DataError: they hold NaN or infinity.
    """
    name = method_class(config.method.name).encoder_name
    weights = child_weights(state, name)
    if odd := not_finite(weights):
        raise DataError(
            "an encoder's weights are finite, got NaN or infinity in "
            f"{counted(len(odd), 'tensor')} of {name} at step {state['step']}, {odd[0]} among "
            "them; take an earlier --checkpoint"
        )
    return weights


def build_encoder(config: TrainConfig, policy: Policy, weights: Weights) -> nn.Module:
    """The network that these weights are of, on the CPU; as untrained as the run began with it."""
    torch.manual_seed(config.loop.seed)
    encoder = build_backbone(config, policy)
    if weights.keys() != encoder.state_dict().keys():
        # A method of one's own may evaluate more than its backbone, which only it can build.
        encoder = build_method(config, policy).encoder
    return encoder


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Put a checkpoint's tensors into a network; DataError when they are of another one."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"a checkpoint holds the network that its config.yaml describes, got another: "
            f"{' '.join(str(error).split())[:300]}; restore config.yaml"
        ) from error


def build_head(config: TrainConfig, encoder: nn.Module, name: str) -> nn.Module | None:
    """A head of the method as a shape without values, on the CPU; None when it has none so named.

    All else of the method is made without memory.
    """
    with shapes_only():
        method = create_method(config.method.name, encoder, config.method.settings)
    head = dict(method.named_children()).get(name)
    return None if head is None else head.to_empty(device="cpu")
