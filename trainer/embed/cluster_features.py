"""The parts of a set's features on a Ray cluster: a task a part, made anew where one is lost.

Every process of the cluster loads the encoder and opens the set once. It writes a part into a
folder of its own; the process that waits for it moves it to its place, so that of a machine that
seemed lost and comes back nothing is taken. Then the neighbours, likewise. Images that cannot be
read are counted over all parts.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from augengine.loader.bad_samples import BadSamples
from augengine.views import BadSample
from shards.errors import DataError
from shards.index import ShardIndex
from shards.processes.cluster import Cluster
from trainer.config import TrainConfig
from trainer.embed.feature_parts import FeatureParts
from trainer.embed.feature_stream import FeatureStream
from trainer.embed.neighbours import nearest
from trainer.encoders.encoder import Encoder
from trainer.encoders.load_encoder import load_encoder
from trainer.setup.data_sets import open_index
from trainer.setup.device import choose_device


@dataclass(frozen=True, slots=True)
class FeatureWords:
    """What is to be made, in words that any machine understands."""

    encoder: str
    checkpoint: str
    data: str
    config: TrainConfig


@dataclass(frozen=True, slots=True)
class FeatureJob:
    """A part to make: of features, or of so many neighbours."""

    words: FeatureWords
    folder: Path  # of the parts
    facts: Mapping[str, Any]
    part: int
    neighbours: int


@dataclass(frozen=True, slots=True)
class MadeFeatures:
    """A part that is written, under the name of its attempt."""

    attempt: str
    bad: tuple[BadSample, ...]  # that are left out


def make_features(job: FeatureJob) -> MadeFeatures:
    """Write a part, in a process of the cluster.

    Raises:
        DataError: this machine has another encoder or set under those words, or as
            `FeatureStream.make`.
    """
    device = choose_device(job.words.config.run.device)
    parts = FeatureParts(job.folder, job.facts)
    attempt = secrets.token_hex(4)
    mine = parts.of_attempt(attempt)
    # Fails where all is done meanwhile, and the folder gone.
    mine.folder.mkdir()
    bad: list[BadSample] = []
    if job.neighbours:
        rows = nearest(parts, job.part, job.neighbours, device)
        mine.write(job.part, rows, job.neighbours)
    else:
        encoder, index = _opened(job.words)
        _check_same(job, encoder, index)
        stream = FeatureStream(
            _budgetless(job.words.config), encoder, index, mine, device, bad.append
        )
        stream.make([job.part], lambda share: None)
    return MadeFeatures(attempt, tuple(bad))


_OPENED: list[tuple[FeatureWords, Encoder, ShardIndex]] = []


def make_on_cluster(
    cluster: Cluster,
    words: FeatureWords,
    parts: FeatureParts,
    show: Callable[[str, float], None],
) -> None:
    """Make every part that is missing, then the neighbours; raises as `make_features`."""
    gpus, data = int(words.config.run.device == "cuda"), words.config.data
    bad = BadSamples(data.bad_budget, data.on_bad, folder=words.data)
    for k in dict.fromkeys((0, parts.facts["neighbours"])):
        missing = parts.missing(k)
        jobs = [FeatureJob(words, parts.folder, parts.facts, part, k) for part in missing]
        results = cluster.run(make_features, jobs, gpus=gpus)
        for done, (position, made) in enumerate(results, start=1):
            part, theirs = jobs[position].part, parts.of_attempt(made.attempt)
            bad.count(made.bad, len(parts.ids(part)))
            os.replace(theirs.path(part, k), parts.path(part, k))
            theirs.remove()
            show("neighbours" if k else "features", done / len(jobs))


def _budgetless(config: TrainConfig) -> TrainConfig:
    data = replace(config.data, bad_budget=1.0, on_bad="substitute")
    return replace(config, data=data)


def _opened(words: FeatureWords) -> tuple[Encoder, ShardIndex]:
    """Kept from one task of this process to the next."""
    if not (_OPENED and _OPENED[0][0] == words):
        torch.set_num_threads(1)  # a task has one core
        encoder = load_encoder(words.encoder, words.checkpoint)
        _OPENED[:] = [(words, encoder, open_index(words.data, words.config))]
    return _OPENED[0][1:]


def _check_same(job: FeatureJob, encoder: Encoder, index: ShardIndex) -> None:
    for key, found in (
        ("weights_sha256", encoder.digest()),
        ("data_fingerprint", index.fingerprint),
    ):
        if found != job.facts[key]:
            raise DataError(
                f"all machines of a cluster see the same files under the same names, got another "
                f"{key} for {job.words.encoder} and {job.words.data}; name folders that all mount"
            )
