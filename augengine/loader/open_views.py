"""Views in one call: `open_views` makes a `ViewLoader` of names and numbers.

    with augengine.open_views("sets/train", "swav", views="2+6", batch_size=256) as loader:
        for views in loader:
            large, small = views.crops

It finds data, policy, backend and decoder as the trainer does: with a run's data, policy, batch
and seed the loader gives that run's views.
"""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from augengine.loader.view_loader import ViewLoader
from augengine.policies import load_policy, parse_sizes, parse_views
from augengine.policy import Policy
from shards.errors import UsageError
from shards.index import ShardIndex
from shards.packing.demo_folder import data_folder
from shards.remote.address import RemoteFolder, remote_folder

Counts = str | int | Sequence[int]  # "2+6", 2, or (2, 6)


def open_views(
    data: str | os.PathLike[str] | RemoteFolder | ShardIndex,
    policy: str | Path | Policy,
    *,
    views: Counts | None = None,
    sizes: Counts | None = None,
    batch_size: int,
    seed: int = 0,
    device: torch.device | str | None = None,
    **loader: Any,
) -> ViewLoader:
    """An endless loader of views, for a `with` block.

    Args:
        data: a folder of shards, an address of one (s3://...), `demo`, or an open index.
        policy: a published policy's name, a YAML file, or a policy.
        views: how many of each crop group; None: the policy's own.
        sizes: their sides in pixels; None: the policy's own.
        batch_size: images a batch, over all ranks.
        seed: of order and views.
        device: where the views are made; None: a GPU where there is one.
        **loader: further arguments of ViewLoader: cursor, num_workers, rank, world, backend, ...

    Raises:
        UsageError: what cannot be, with what to write instead.
        DataError: shards that are missing or damaged.
    """
    _check_names(loader)
    return ViewLoader(
        open_data(data),
        choose_policy(policy, views, sizes),
        batch_size=batch_size,
        seed=seed,
        device=device,
        **loader,
    )


def open_data(data: str | os.PathLike[str] | RemoteFolder | ShardIndex) -> ShardIndex:
    """The index of what is named, built when missing; an open one as it is."""
    if isinstance(data, ShardIndex):
        return data
    if isinstance(data, RemoteFolder):
        return ShardIndex.open(data)
    if not isinstance(data, str | os.PathLike) or not os.fspath(data):
        raise UsageError(
            f"data is a folder of shards, an address or an index, got {data!r}; write "
            '"sets/train", or "demo" for the demo set'
        )
    remote = remote_folder(data)
    return ShardIndex.open(data_folder(os.fspath(data)) if remote is None else remote)


def choose_policy(
    policy: str | Path | Policy, views: Counts | None = None, sizes: Counts | None = None
) -> Policy:
    """The policy that is named, with other counts and sizes where they are given."""
    if not isinstance(policy, str | Path | Policy):
        raise UsageError(
            f'a policy is a name, a YAML file or a Policy, got {policy!r}; write "swav"'
        )
    chosen = policy if isinstance(policy, Policy) else load_policy(policy)
    if views is None and sizes is None:
        return chosen
    own = tuple(group.count for group in chosen.groups)
    try:
        counts = own if views is None else parse_views(_as_sum(views))
        return chosen.with_views(counts, None if sizes is None else parse_sizes(_as_sum(sizes)))
    except UsageError as error:
        # The commands have flags where a call has arguments.
        text = str(error).replace("--", "")
        raise UsageError(text if ";" in text else f"{text}; give one each") from None


def _check_names(given: Mapping[str, Any]) -> None:
    """Refuse an argument that ViewLoader does not have, with the nearest that it has."""
    known = [p.name for p in signature(ViewLoader).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise UsageError(f"open_views has no argument {name}; {hint}")


def _as_sum(numbers: Counts) -> str:
    """The numbers as the command takes them: 2+6."""
    if isinstance(numbers, str):
        return numbers
    return "+".join(map(str, numbers)) if isinstance(numbers, Sequence) else str(numbers)
