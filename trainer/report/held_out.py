"""The encoder of a checkpoint on the held-out images: neighbours, classes, places on a map.

Images, views, k and temperature are those of the run's own kNN, so that the share of images that
are told rightly is the one it wrote down. Without labels there are neighbours and a map all the
same.

Legend: N voting images, M held-out ones, D feature width, K classes, P points of the map.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from shards.errors import DataError
from shards.index import ShardIndex
from trainer.config import TrainConfig
from trainer.encoders.encoder import Encoder
from trainer.eval.class_match import class_name
from trainer.eval.knn import knn_predict
from trainer.eval.labelled import sample_positions
from trainer.eval.labelled_pair import open_labelled
from trainer.report.encoded_sets import Encoded, EncodedSets, OnShare, SetPart, Shown
from trainer.setup.data_sets import open_index, open_training

QUERIES = 12  # held-out images whose neighbours are shown
NEIGHBOURS = 8  # of each
MAP_POINTS = 800  # at most
_SEED = 0  # of which images are shown


@dataclass(frozen=True, slots=True)
class Query:
    """A held-out image and the voting ones nearest to it, the nearest first."""

    image: Shown
    neighbours: tuple[Shown, ...]
    neighbour_ids: tuple[int, ...]  # sample numbers
    similarities: tuple[float, ...]  # cosines
    id: int


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How the images of one class fare."""

    name: str
    num_images: int
    accuracy: float  # share told rightly
    mistaken_for: str  # the class that is said most in its place; empty: none
    mistaken_share: float  # of its images


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the encoder makes of the held-out images."""

    step: int
    num_voting: int
    num_held_out: int
    num_unread: int  # of both, left out
    knn: float | None  # share told rightly; None: there are no labels
    k: int
    no_labels: str  # why there are none; empty where there are
    queries: tuple[Query, ...]
    classes: tuple[ClassScore, ...]  # the best first
    features: np.ndarray  # [P, D] float32 of the map's images, of length 1
    points: tuple[Shown, ...]  # these images


def look_at_held_out(
    config: TrainConfig, encoder: Encoder, step: int, device: torch.device, on_share: OnShare
) -> HeldOut:
    """Encode both sets once and say what is near what.

    Raises:
        UsageError, DataError: sets that cannot be opened, or images that cannot be read.
    """
    voting, held_out, no_labels = _open(config)
    bad: set[tuple[int, int]] = set()
    engine = EncodedSets(config, encoder, device, bad)
    total = len(voting.ids) + len(held_out.ids)
    known = engine.encode(voting, 0, total, on_share)
    asked = engine.encode(held_out, len(voting.ids), total, on_share)
    k = min(config.eval.k, len(known.ids))
    knn, classes = None, ()
    if not no_labels:
        predicted = knn_predict(
            known.features,
            torch.from_numpy(known.labels).long(),
            asked.features,
            k=k,
            temperature=config.eval.temperature,
        ).numpy()
        knn = float((predicted == asked.labels).mean())
        classes = class_scores(voting.index, predicted, asked.labels)
    chosen = _chosen(asked.labels, QUERIES)
    queries = _queries(engine, voting, held_out, known, asked, chosen)
    on_map = sample_positions(len(asked.ids), MAP_POINTS)
    return HeldOut(
        step=step,
        num_voting=len(known.ids),
        num_held_out=len(asked.ids),
        num_unread=len(bad),
        knn=knn,
        k=k,
        no_labels=no_labels,
        queries=queries,
        classes=classes,
        features=asked.features[on_map].numpy(),
        points=engine.shown(held_out, asked.ids[on_map]),
    )


def nearest(
    features: torch.Tensor,  # [N, D] float32, of length 1
    queries: torch.Tensor,  # [Q, D] float32, of length 1
    k: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines [Q, k] and places [Q, k] of the k nearest, the nearest first; exact."""
    similarities, places = (queries @ features.T).topk(min(k, len(features)), dim=1)
    return similarities, places


def class_scores(
    index: ShardIndex,  # that numbers the classes
    predicted: np.ndarray,  # [M] int64
    labels: np.ndarray,  # [M] int32
) -> tuple[ClassScore, ...]:
    """A score a class, the best first."""
    scores = []
    for number in np.unique(labels).tolist():
        said = predicted[labels == number]
        others, times = np.unique(said[said != number], return_counts=True)
        most = int(others[times.argmax()]) if len(others) else -1
        scores.append(
            ClassScore(
                name=class_name(index, number),
                num_images=len(said),
                accuracy=float((said == number).mean()),
                mistaken_for=class_name(index, most) if len(others) else "",
                mistaken_share=float(times.max() / len(said)) if len(others) else 0.0,
            )
        )
    return tuple(sorted(scores, key=lambda score: -score.accuracy))


def _open(config: TrainConfig) -> tuple[SetPart, SetPart, str]:
    """The voting and the held-out images, and why they have no labels."""
    try:
        sets = open_labelled(config)
    except DataError as error:
        problem = str(error)
    else:
        parts = [SetPart(part.index, part.ids, part) for part in (sets.train, sets.test)]
        return parts[0], parts[1], ""
    # No labels, or none in common: what is near what needs none.
    settings = config.eval
    train = open_training(config) if settings.train is None else open_index(settings.train, config)
    test = open_index(str(settings.data), config)
    most = (settings.max_train_images, settings.max_test_images)
    voting, held_out = (
        SetPart(index, sample_positions(len(index), limit), None)
        for index, limit in zip((train, test), most, strict=True)
    )
    return voting, held_out, problem


def _chosen(labels: np.ndarray, number: int) -> np.ndarray:
    """[Q] places, ascending: images of as many classes as there are, else at random."""
    order = np.random.default_rng(_SEED).permutation(len(labels))
    # The first of each class, then the second of each, ...
    seen: dict[int, int] = {}
    turns = []
    for label in labels[order].tolist():
        turns.append(seen.get(label, 0))
        seen[label] = turns[-1] + 1
    return np.sort(order[np.argsort(turns, kind="stable")[:number]])


def limited(config: TrainConfig, most: int | None) -> TrainConfig:
    """The config with so many images of each set at most; None: as the run's kNN took."""
    if most is None:
        return config
    settings = config.eval

    def least(limit: int) -> int:
        return min(limit, most) if limit else most

    limits = (least(settings.max_train_images), least(settings.max_test_images))
    return replace(
        config, eval=replace(settings, max_train_images=limits[0], max_test_images=limits[1])
    )


def _queries(
    engine: EncodedSets,
    voting: SetPart,
    held_out: SetPart,
    known: Encoded,
    asked: Encoded,
    chosen: np.ndarray,
) -> tuple[Query, ...]:
    similarities, places = nearest(known.features, asked.features[chosen], NEIGHBOURS)
    ids = known.ids[places.numpy()]  # [Q, k]
    wanted = np.unique(ids)
    theirs = dict(zip(wanted.tolist(), engine.shown(voting, wanted), strict=True))
    ours = engine.shown(held_out, asked.ids[chosen])
    return tuple(
        Query(
            image,
            tuple(theirs[near] for near in row),
            tuple(row),
            tuple(cosines),
            id,
        )
        for image, row, cosines, id in zip(
            ours, ids.tolist(), similarities.tolist(), asked.ids[chosen].tolist(), strict=True
        )
    )
