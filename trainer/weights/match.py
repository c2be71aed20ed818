"""Given weights into a network: what fits is taken, what does not is told, too little is refused.

    read_source -> find_encoder -> renamed -> in_words_of -> adapt -> the network

`networks.py` fills the backbone before the method copies it, so that student and teacher begin
alike; on a run that goes on nothing is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.weights.adapt import adapt
from trainer.weights.dialects import in_words_of, renamed
from trainer.weights.layouts import Found, Layout, beginnings, find_encoder
from trainer.weights.names import part_of
from trainer.weights.recognise import recognise
from trainer.weights.source import Source, read_source, require_finite

LEAST_SHARE = 0.9  # of the network's tensors and of the file's, or the weights are of another one
_UNCOUNTED = "num_batches_tracked"  # steps that a norm has seen: old files lack it, no use of it
_MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of `backbone.weights`."""

    where: str
    sha256: str
    layout: str
    part: str
    matched: int  # tensors of the network that have the file's values
    of: int  # tensors of the network
    adapted: tuple[str, ...]  # "NAME (what was done)", among the matched ones
    missing: tuple[str, ...]  # "NAME (why)": they keep the values that the seed gave
    left_over: tuple[str, ...]  # tensors of the file's encoder that the network has no place for
    beside: tuple[str, ...]  # what else the file has at that place: heads, by their first words

    def describe(self) -> str:
        """A sentence for the start of a run."""
        text = (
            f"weights: {self.matched} of {counted(self.of, 'tensor')} from {self.where} "
            f"({self.layout})"
        )
        for what, names in (
            ("made to fit", self.adapted),
            ("kept as the seed gave them", self.missing),
            ("of no use here", self.left_over),
            ("left out", self.beside),
        ):
            if names:
                text += f"; {what}: {_few(names)}"
        return text

    def as_mapping(self) -> dict[str, Any]:
        """The record in config.yaml's head."""
        lists = {
            "adapted": self.adapted,
            "missing": self.missing,
            "left_over": self.left_over,
            "beside": self.beside,
        }
        head = {"file": self.where, "sha256": self.sha256, "layout": self.layout}
        head |= {"part": self.part} if self.part else {}
        numbers = {"matched": self.matched, "of": self.of}
        return head | numbers | {key: list(names) for key, names in lists.items() if names}


@dataclass(frozen=True, slots=True)
class Given:
    """An encoder's weights, read and found, for whatever network asks."""

    source: Source
    found: Found
    tensors: Mapping[str, torch.Tensor]  # by torchvision's or timm's names
    backbone: Mapping[str, Any]  # the keys of `backbone` that build its network; empty: not known
    heads: int | None  # of a ViT's attention, where the file or its layout tells

    def fill(self, network: nn.Module) -> Taken:
        """Put the weights into the network.

        Raises:
            UsageError: the network is another one than the weights are of.
            DataError: NaN or infinity.
        """
        own = network.state_dict()
        self._check_heads(network)
        tensors = in_words_of(own.keys(), self.tensors, self.backbone.get("arch"))
        values: dict[str, torch.Tensor] = {}
        adapted, missing = [], []
        for name, value in own.items():
            given = tensors.get(name)
            if given is None:
                missing.append(f"{name} (not in the file)")
            elif given.shape == value.shape:
                values[name] = given
            elif (made := adapt(name, given, value.shape)) is not None:
                values[name] = made[0]
                adapted.append(f"{name} ({made[1]})")
            else:
                missing.append(f"{name} ({list(given.shape)}, not {list(value.shape)})")
        words = {name.partition(".")[0] for name in own}
        foreign = [name for name in tensors if name not in own]
        left = [name for name in foreign if name.partition(".")[0] in words]
        taken = Taken(
            where=self.source.where,
            sha256=self.source.sha256,
            layout=self.found.layout.name,
            part=self.found.layout.part,
            matched=len(_counted(values)),
            of=len(_counted(own)),
            adapted=tuple(adapted),
            missing=tuple(name for name in missing if _UNCOUNTED not in name),
            left_over=tuple(_counted(left)),
            beside=tuple(beginnings(name for name in foreign if name not in left)),
        )
        self._refuse_another(taken)
        require_finite(values, self.source.where)
        network.load_state_dict({**own, **values})
        return taken

    def _check_heads(self, network: nn.Module) -> None:
        """The weights of a ViT are alike for any number of heads, its features are not."""
        wanted, own = self.heads, getattr(network, "num_heads", None)
        if wanted is not None and isinstance(own, int) and own != wanted:
            raise UsageError(
                f"attention has as many heads as its weights were trained with, got {own} for "
                f"{self.source.where} with {wanted}; give backbone.heads={wanted}"
            )

    def _refuse_another(self, taken: Taken) -> None:
        of_file = taken.matched + len(taken.left_over)
        if taken.matched >= LEAST_SHARE * max(taken.of, of_file):
            return
        keys = " ".join(f"backbone.{key}={value}" for key, value in self.backbone.items())
        remedy = f"give {keys}" if keys else "give the --arch that the weights are of"
        why = _few([*taken.missing, *(f"{name} (no place)" for name in taken.left_over)])
        raise UsageError(
            f"weights fill {LEAST_SHARE:.0%} of the encoder's tensors and find a place for "
            f"{LEAST_SHARE:.0%} of their own, got {taken.matched} of {taken.of}, and of {of_file} "
            f"that {taken.where} ({taken.layout}) has under such names: {why}; {remedy}"
        )


def read_given(weights: str, part: str | None = None, own_name: str | None = None) -> Given:
    """Read what `backbone.weights` names and find the encoder in it.

    Args:
        weights: a file, a run, or timm:NAME.
        part: backbone.weights_part.
        own_name: the first of the names of the network that will be filled, where it is known.
    """
    source = read_source(weights)
    if source.layout is not None and part is None:
        inside = part_of(source.tensors, source.part) if source.part else dict(source.tensors)
        found = Found(Layout(source.layout, source.part), inside)
    else:
        found = find_encoder(source.tensors, source.where, part, own_name)
    tensors = renamed(found.tensors)
    heads = _heads(source, found, tensors)
    backbone = recognise(tensors, heads)
    if "arch" in source.backbone:
        # What a file says of itself; a run's stem may stand there as auto.
        stem = {key: backbone[key] for key in ("stem",) if key in backbone}
        backbone = {**stem, **source.backbone}
    return Given(source, found, tensors, backbone, heads)


def _heads(source: Source, found: Found, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Of a ViT's attention, where the file or its layout tells."""
    filters = tensors.get("patch_embed.proj.weight")
    if filters is None:
        return None
    own = len(filters) // 64 if "arch" in source.backbone else None
    return source.backbone.get("heads") or found.layout.heads or own


def _counted(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(_UNCOUNTED)]


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
