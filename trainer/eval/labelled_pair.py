"""Opens the labelled images that a config names: those that vote, and the held-out ones."""

from shards.errors import UsageError
from shards.index import ShardIndex
from trainer.config import TrainConfig
from trainer.eval.labelled import LabelledSets, label_sets
from trainer.setup.data_sets import open_index, open_training


def open_labelled(config: TrainConfig, training: ShardIndex | None = None) -> LabelledSets:
    """The sets of eval.train, or else data.train, and of eval.data.

    Args:
        config: names them.
        training: the index of data.train, where it is open: then held-out images are looked for
            in it too, although others vote.

    Raises:
        UsageError: no eval.data.
        DataError: sets that cannot be opened or have no labels in common.
    """
    settings = config.eval
    if settings.data is None:
        raise UsageError(
            "kNN and a linear probe need labelled held-out images, got no --eval-data; "
            "pack some with python -m tools.make_shards"
        )
    test = open_index(settings.data, config)
    most = (settings.max_train_images, settings.max_test_images)
    if settings.train is None:
        train = open_training(config) if training is None else training
        return label_sets(train, test, *most)
    train = open_index(settings.train, config)
    return label_sets(train, test, *most, seen=training, name="eval.train")
