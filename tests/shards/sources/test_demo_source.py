"""The demo set: the same everywhere, hard for raw pixels, the class in shape and texture only."""

import io

import numpy as np
import pytest
from PIL import Image

from shards.errors import UsageError
from shards.sources.demo_set import DemoSource
from shards.sources.render import CLASSES, SIDE_PX, factors_of, render_image


def decoded(source: DemoSource, number: int) -> np.ndarray:
    payload = source[number].load()
    assert isinstance(payload, bytes)
    return np.asarray(Image.open(io.BytesIO(payload)))


def test_every_image_is_itself_again_and_unlike_the_others() -> None:
    """The same number gives the same bytes; numbers, classes and splits differ."""
    train, test = DemoSource(), DemoSource("test")
    assert train[5].load() == DemoSource("train")[5].load()
    payloads = {source[i].load() for source in (train, test) for i in range(24)}
    assert len(payloads) == 48
    assert train.fingerprint != test.fingerprint


def test_classes_come_in_turn_and_are_equally_many() -> None:
    """At least ten classes, 64 px RGB, as many images of each."""
    for source in (DemoSource(), DemoSource("test")):
        labels = np.array([source[i].label for i in range(len(source))])
        assert len(set(np.bincount(labels))) == 1
        assert len(source.classes) == labels.max() + 1 >= 10
        assert decoded(source, 7).shape == (SIDE_PX, SIDE_PX, 3)


def test_there_is_no_other_split() -> None:
    """A typo is not an empty set."""
    with pytest.raises(UsageError, match="'val'"):
        DemoSource("val")


def test_colour_says_nothing_about_the_class() -> None:
    """Mean colours of the classes differ by no more than chance allows."""
    means = np.array(
        [
            [render_image(label, (9, i)).mean(axis=(0, 1)) for i in range(40)]
            for label in range(len(CLASSES))
        ]
    )
    spread = means.std(axis=1).mean() / np.sqrt(40)
    assert means.mean(axis=1).std(axis=0).max() < 2.5 * spread


def test_factors_are_what_the_picture_shows() -> None:
    """The ground's colour is the border's, and the shape lies where its centre is said to."""
    border = np.ones((SIDE_PX, SIDE_PX), bool)
    border[4:-4, 4:-4] = False
    shown, told = [], []
    for number in range(120):
        label, seed = number % len(CLASSES), (2, 0, number)
        image, factors = render_image(label, seed) / 255.0, factors_of(label, seed)
        ground = np.median(image[border], axis=0)
        is_shape = np.abs(image - ground).max(axis=-1) > 0.15
        centre = np.argwhere(is_shape).mean(axis=0) - (SIDE_PX - 1) / 2
        shown.append([*ground, *centre])
        told.append([*factors.ground, *factors.centre_px])
    for column, least in zip(range(5), (0.95, 0.95, 0.95, 0.8, 0.8), strict=True):
        assert np.corrcoef(np.array(shown)[:, column], np.array(told)[:, column])[0, 1] > least
    assert DemoSource().factors(7) == factors_of(7, (2, 0, 7))
    assert DemoSource("test").factors(7) == factors_of(7, (2, 1, 7)) != DemoSource().factors(7)


@pytest.mark.slow
def test_raw_pixels_do_not_tell_the_class() -> None:
    """20 nearest neighbours by cosine of centred pixels stay under 30 %, and over chance."""
    images = np.stack([render_image(i % 12, (0, 0, i)) for i in range(2400)])
    queries = np.stack([render_image(i % 12, (0, 1, i)) for i in range(480)])
    mean = images.reshape(len(images), -1).mean(axis=0)
    bank, wanted = (x.reshape(len(x), -1) - mean for x in (images, queries))
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    nearest = np.argsort(-(wanted @ bank.T), axis=1)[:, :20] % 12
    votes = np.stack([(nearest == label).sum(axis=1) for label in range(12)], axis=1)
    accuracy = (votes.argmax(axis=1) == np.arange(480) % 12).mean()
    assert 1 / 12 < accuracy < 0.30
