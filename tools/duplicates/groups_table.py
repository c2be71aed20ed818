"""The groups as a table: a line an image, the first of each group first."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from tools.duplicates.near_groups import Nearest
from trainer.embed.feature_table import FeatureTable

COLUMNS = ("group", "name", "similarity", "like", "key", "shard", "label")


def groups_csv(table: FeatureTable, nearest: Nearest, groups: Sequence[np.ndarray]) -> str:
    """CSV text; `like` is the image that one is most alike, empty for the first of a group."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, group in enumerate(groups, start=1):
        for place, row in enumerate(group.tolist()):
            other = int(nearest.rows[row])
            like = (f"{nearest.similarities[row]:.4f}", table.names[other]) if place else ("", "")
            place_of = (table.keys[row], table.shards[row], int(table.labels[row]))
            writer.writerow((number, table.names[row], *like, *place_of))
    return buffer.getvalue()


def count_mixed(table: FeatureTable, groups: Sequence[np.ndarray]) -> int:
    """Groups whose images have more than one label: a wrong one, or a threshold that is too low."""
    return sum(len(np.unique(table.labels[group])) > 1 for group in groups)
