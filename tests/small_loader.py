"""Small loaders, what they give, and ways to damage what they read."""

import numpy as np
import torch

from augengine.decoders.create_decoder import create_decoder
from augengine.loader.view_loader import ViewLoader
from augengine.policy import CropGroup, Policy, ViewPolicy
from augengine.reference import render
from shards.index import ShardIndex
from shards.order import SampleOrder

CPU = torch.device("cpu")
VIEW = ViewPolicy(scale=(0.2, 1.0), jitter=0.8, brightness=0.4, hue=0.1, gray=0.2)
POLICY = Policy("small", (CropGroup(2, 12, (VIEW,)), CropGroup(1, 6, (VIEW,))))


class ReferenceBackend:
    """The slow reference as a backend: exact, and the same on any thread."""

    name, device, dtype = "reference", CPU, torch.float32

    def __call__(self, images, plan):
        return tuple(
            torch.from_numpy(
                np.stack(
                    [
                        [render(image.numpy(), plan, b, v) for b, image in enumerate(images)]
                        for v in views
                    ]
                )
            )
            for views in plan.groups
        )


def loader_of(index, **settings):
    defaults = {
        "batch_size": 8,
        "seed": 3,
        "backend": ReferenceBackend(),
        "decoder": create_decoder("pillow", CPU, num_threads=1),
        "on_warning": lambda bad: None,
    }
    return ViewLoader(index, POLICY, **(defaults | settings))


def take(count, index, **settings):
    with loader_of(index, **settings) as loader:
        return [next(loader) for _ in range(count)]


def views_by_sample(batches):
    """(epoch, id) -> its views as bytes; a sample that came twice must be equal both times."""
    seen = {}
    for views in batches:
        for b, (epoch, id) in enumerate(zip(views.plan.epochs, views.ids, strict=True)):
            pixels = b"".join(crops[:, b].numpy().tobytes() for crops in views.crops)
            assert seen.setdefault((int(epoch), int(id)), pixels) == pixels
    return seen


def assert_equal_views(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.plan.digest() == b.plan.digest()
        assert a.labels.tolist() == b.labels.tolist()
        assert all(torch.equal(x, y) for x, y in zip(a.crops, b.crops, strict=True))


def overwrite(index, id, data=b"not a picture", offset=0):
    """Damage one sample's bytes inside its tar, as rot on a disk would."""
    entry = index.entry(id)
    with open(index.directory / index.shards[entry.shard].name, "r+b") as file:
        file.seek(entry.offset + offset)
        file.write(data[: entry.size])


def stream_ids(index, num_samples, seed=3):
    return SampleOrder(len(index), seed)(np.arange(num_samples))[1]


def open_bytes(index, id):
    entry = index.entry(id)
    with open(index.directory / index.shards[entry.shard].name, "rb") as file:
        file.seek(entry.offset)
        return file.read(entry.size)


def lie(index, field, change):
    """The index with one field of the stream's first sample changed, in memory."""
    records, id = np.array(index.records), int(stream_ids(index, 1)[0])
    records[field][id] = change(records[field][id])
    return ShardIndex(index.directory, records, index.manifest), id
