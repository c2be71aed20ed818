"""Whose checkpoint is it? The layouts that are known, each by the names of its tensors.

A checkpoint has an encoder somewhere inside: under `module.encoder_q.`, beside a projector, a queue
or a second encoder. `find_encoder` finds every place where one begins by names that only an encoder
has, and `LAYOUTS` says which of several its authors evaluate. Every row was read in the file that
it cites; docs/weights.md shows the table.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch

from shards.errors import DataError
from trainer.weights.names import has_start, joined, part_of

Tensors = Mapping[str, torch.Tensor]
# A name that only an encoder's tensors have, and what must stand beside it at the same place.
ANCHORS = {
    "layer1.0.conv1.weight": "bn1.weight",  # a ResNet, torchvision's and timm's names
    "4.0.conv1.weight": "0.weight",  # the same as nn.Sequential(*children)
    "2.0.conv1.weight": "0.weight",  # likewise, without ReLU and pooling: lightly's own ResNet
    "patch_embed.proj.weight": "norm.weight",  # a ViT, timm's names
    "conv_proj.weight": "class_token",  # a ViT, torchvision's names
}


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to store an encoder; names are those of `names.plain_names`, without wrappers."""

    name: str
    part: str  # what stands before the encoder's names; "" where nothing does
    marks: tuple[str, ...] = ()  # beginnings of other names, each of which is there
    others: tuple[str, ...] = ()  # where encoders lie that are passed over
    heads: int | None = None  # of a ViT's attention, where they are not 64 features wide
    source: str = ""  # repository and file


LAYOUTS = (
    Layout(
        "SwAV, DeepCluster v2", "", ("projection_head", "prototypes"),
        source="facebookresearch/swav hubconf.py, main_swav.py",
    ),
    Layout(
        "MoCo v1, v2", "encoder_q", ("queue",), ("encoder_k",),
        source="facebookresearch/moco main_lincls.py",
    ),
    Layout(
        "MoCo v3", "base_encoder", ("predictor",), ("momentum_encoder",), heads=12,
        source="facebookresearch/moco-v3 main_lincls.py, vits.py",
    ),
    Layout(
        "SimSiam", "encoder", ("predictor",),
        source="facebookresearch/simsiam main_lincls.py",
    ),
    Layout(
        "Barlow Twins, whole", "backbone", ("projector", "bn.running_mean"),
        source="facebookresearch/barlowtwins main.py",
    ),
    Layout(
        "solo-learn", "backbone", ("classifier",), ("momentum_backbone",),
        source="vturrisi/solo-learn solo/methods/base.py, main_linear.py",
    ),
    Layout(
        "solo-learn, former", "encoder", ("classifier",), ("momentum_encoder",),
        source="vturrisi/solo-learn main_linear.py",
    ),
    Layout(
        "VICReg, whole", "backbone", ("projector",),
        source="facebookresearch/vicreg main_vicreg.py, evaluate.py",
    ),
    Layout(
        "DINO, whole", "teacher.backbone", ("teacher.head", "student.head"), ("student.backbone",),
        source="facebookresearch/dino main_dino.py, eval_knn.py",
    ),
    Layout(
        "DINOv2 teacher", "teacher.backbone", ("teacher.dino_head",),
        source="facebookresearch/dinov2 dinov2/train/train.py",
    ),
    Layout(
        "DINOv3", "", ("storage_tokens", "rope_embed"),
        source="facebookresearch/dinov3 dinov3/models/vision_transformer.py",
    ),
    Layout(
        "DINOv2 with registers", "", ("mask_token", "register_tokens"),
        source="facebookresearch/dinov2 dinov2/hub/backbones.py",
    ),
    Layout(
        "DINOv2", "", ("mask_token", "blocks.0.ls1"),
        source="facebookresearch/dinov2 dinov2/models/vision_transformer.py",
    ),
    Layout(
        "VISSL, a ResNet", "classy_state_dict.base_model.model.trunk._feature_blocks", (),
        ("classy_state_dict.loss.moco_encoder.trunk._feature_blocks",),
        source="facebookresearch/vissl extra_scripts/convert_vissl_to_torchvision.py",
    ),
    Layout(
        "VISSL, a ViT", "classy_state_dict.base_model.model.trunk",
        source="facebookresearch/vissl vissl/models/trunks/vision_transformer.py",
    ),
    Layout(
        "VISSL, a ResNet's trunk", "_feature_blocks",
        source="facebookresearch/vissl extra_scripts/convert_vissl_to_torchvision.py",
    ),
    Layout(
        "lightly", "backbone", (), ("key_backbone", "teacher_backbone", "student_backbone",
                                    "backbone_momentum"),
        source="lightly-ai/lightly benchmarks/imagenet/resnet50, examples/pytorch",
    ),
    Layout(
        "lightly, a ViT", "backbone.vit", (), ("student_backbone.vit", "teacher_backbone.vit"),
        source="lightly-ai/lightly benchmarks/imagenet/vitb16/dino.py",
    ),
    Layout(
        "lightly, a ViT's teacher", "teacher_backbone.vit", (), ("student_backbone.vit",),
        source="lightly-ai/lightly benchmarks/imagenet/vitb16/dinov2.py",
    ),
    Layout(
        "timm, training with EMA", "state_dict_ema", (), ("",),
        source="huggingface/pytorch-image-models timm/models/_helpers.py",
    ),
    Layout(
        "our fine-tuned classifier", "weights.encoder", ("weights.linear",),
        source="trainer/nets/classifier.py",
    ),
    Layout(
        "torchvision, timm, our export, or a backbone alone", "",
        source="pytorch/vision torchvision/models/resnet.py, vision_transformer.py",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """The place of the encoder in a file."""

    layout: Layout
    tensors: dict[str, torch.Tensor]  # of the encoder and what lies beside it at the same place


def find_encoder(
    tensors: Tensors,  # of plain_names
    where: str,  # the file, for messages
    part: str | None = None,  # what the user says; None: by the table
    own_name: str | None = None,  # the first of the network's own names, which may be of any kind
) -> Found:
    """The encoder of a checkpoint.

    Raises:
        DataError: there is none, or there are several and no layout tells which.
    """
    if part is not None:
        return _named_part(tensors, where, part)
    # A network of another kind has a first name, too: less telling, so asked for last.
    places = find_places(tensors)
    if not places and own_name is not None:
        places = find_places(tensors, {own_name: own_name})
    fitting = [layout for layout in LAYOUTS if _fits(layout, tensors, places)]
    if fitting:
        return Found(fitting[0], part_of(tensors, fitting[0].part))
    if len(places) == 1:
        return Found(Layout("names of its own", places[0]), part_of(tensors, places[0]))
    if not places:
        begin = ", ".join(beginnings(tensors)) or "no tensor"
        raise DataError(
            "weights hold an encoder, known by names like layer1.0.conv1 (ResNet) or patch_embed."
            f"proj (ViT), got {where} with {begin}; give backbone.weights_part=NAME, what stands "
            "before the encoder's names, or other weights (docs/weights.md)"
        )
    shown = ", ".join(place or "(the top)" for place in places)
    raise DataError(
        f"weights hold one encoder, or are of a known layout, got {where} with encoders at "
        f"{shown}; say which by backbone.weights_part={places[0] or places[-1]}"
    )


def find_places(tensors: Tensors, anchors: Mapping[str, str] = ANCHORS) -> list[str]:
    """Every place where an encoder begins, "" for the top."""
    places: list[str] = []
    for name in tensors:
        for anchor, beside in anchors.items():
            if name != anchor and not name.endswith(f".{anchor}"):
                continue
            place = name[: -len(anchor)].rstrip(".")
            if joined(place, beside) in tensors and place not in places:
                places.append(place)
    return places


def beginnings(tensors: Iterable[str]) -> list[str]:
    """The first words of the names, five at most."""
    words = list(dict.fromkeys(name.partition(".")[0] for name in tensors))
    return [*words[:5], *(["..."] if words[5:] else [])]


def _named_part(tensors: Tensors, where: str, part: str) -> Found:
    inside = part_of(tensors, part)
    if inside:
        return Found(Layout("the part that was named", part), inside)
    places = ", ".join(find_places(tensors)) or ", ".join(beginnings(tensors))
    raise DataError(
        f"backbone.weights_part stands before tensors' names, got {part}, which no tensor of "
        f"{where} has; there are {places}"
    )


def _fits(layout: Layout, tensors: Tensors, places: Collection[str]) -> bool:
    if layout.part not in places or not set(places) <= {layout.part, *layout.others}:
        return False
    return all(has_start(tensors, mark) for mark in layout.marks)
