"""The `policy` keys of a run: what may happen to an image, by a policy's name or in full.

A recipe names a policy and says what differs. A run's config.yaml has the outcome: every field of
every view, so that no later edit of a policy changes what the run is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from augengine.policies import (
    is_policy_file,
    load_policy,
    override_policy,
    parse_sizes,
    parse_views,
)
from augengine.policy import Policy
from augengine.policy_file import (
    GROUP_KEYS,
    VIEW_FIELDS,
    at,
    check_keys,
    group_values,
    read_group,
)
from shards.errors import UsageError
from shards.terminal.counted import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """The policy of the views, and their number.

    Any field of a view policy, mean and std may stand beside these keys and then hold for every
    view (policy.blur=0); what `groups` says of one crop group goes before them. So may `heavy`,
    which makes a further view of each of the first group's.
    """

    name: str = "swav"  # of augengine/policies, or the path of a YAML file like those
    views: str | None = None  # counts a crop group: 2+6; null: the policy's own
    sizes: str | None = None  # their sides in pixels: 224+96; null: the policy's own
    # Per crop group, by its place in the policy, what differs: [{scale: [0.3, 1]}, {}]. Or all
    # groups as in a policy file (count, size_px, views); then `name` is a label, and no file is
    # read. A count of 0 leaves a group out and keeps the places of the others.
    groups: tuple[Mapping[str, Any], ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the keys say everything themselves."""
        return has_groups(self.groups)

    def load(self) -> Policy:
        """The policy these keys describe; UsageError names what is wrong with them."""
        policy, counts = self._all_groups()
        pairs = zip(policy.groups, counts, strict=True)
        groups = tuple(replace(group, count=count) for group, count in pairs if count)
        if not groups:
            raise UsageError("--views needs at least one view, got none; try --views 2+6")
        if policy.heavy is not None:
            policy.heavy.check_side(groups[0].size_px)
        return replace(policy, groups=groups)

    def written_out(self) -> "PolicyConfig":
        """The same in full: whoever reads it needs no policy file, and no release of ours."""
        policy, counts = self._all_groups()
        pairs = zip(policy.groups, counts, strict=True)
        # A policy without heavy views has no such key, as before there were any.
        heavy = {"heavy": policy.heavy.values} if policy.heavy else {}
        return PolicyConfig(
            name=self.name,
            groups=tuple(group_values(group) | {"count": count} for group, count in pairs),
            changes={"mean": list(policy.mean), "std": list(policy.std)} | heavy,
        )

    def _all_groups(self) -> tuple[Policy, tuple[int, ...]]:
        """Every crop group, changed as the keys say, and how many views are made of each."""
        policy, counts, of_groups = self._start()
        if self.views is not None:
            counts = _filled(parse_views(self.views), (0,) * len(counts), "views", policy)
        if self.sizes is not None:
            policy = _resized(policy, parse_sizes(self.sizes), counts)
        policy = override_policy(policy, self.changes)
        groups = []
        for number, (group, changes) in enumerate(zip(policy.groups, of_groups, strict=True)):
            with at(f"policy.groups[{number}]"):
                check_keys(changes, VIEW_FIELDS, "what differs in a group")
                alone = override_policy(replace(policy, groups=(group,)), changes)
            groups.append(alone.groups[0])
        return replace(policy, groups=tuple(groups)), counts

    def _start(self) -> tuple[Policy, tuple[int, ...], Sequence[Mapping[str, Any]]]:
        """The policy that is named, or written here; its counts; and what differs by group."""
        if not self.is_whole:
            policy = load_policy(self.name)
            if len(self.groups) > len(policy.groups):
                raise UsageError(
                    f"policy.groups changes the {counted(len(policy.groups), 'crop group')} of "
                    f"policy {policy.name}, got {len(self.groups)} entries; leave the last ones out"
                )
            rest = len(policy.groups) - len(self.groups)
            counts = tuple(group.count for group in policy.groups)
            return policy, counts, [*self.groups, *[{}] * rest]
        groups, counts, others = [], [], []
        for number, values in enumerate(self.groups):
            with at(f"policy.groups[{number}]"):
                is_left_out = values.get("count") == 0 and values.get("count") is not False
                own = {key: values[key] for key in values if key in GROUP_KEYS}
                group = read_group(own | {"count": 1} if is_left_out else own, {})
            groups.append(group)
            counts.append(0 if is_left_out else group.count)
            others.append({key: values[key] for key in values if key not in GROUP_KEYS})
        name = Path(self.name).stem if is_policy_file(self.name) else self.name
        return Policy(name, tuple(groups)), tuple(counts), others


def has_groups(groups: Sequence[Mapping[str, Any]]) -> bool:
    """Whether `policy.groups` holds groups, not what differs in them."""
    return any(key in GROUP_KEYS for group in groups for key in group)


def _resized(policy: Policy, sizes: tuple[int, ...], counts: tuple[int, ...]) -> Policy:
    """Other sides by the places of the groups; a group that is left out needs none."""
    last = max(number for number, count in enumerate(counts) if count) + 1
    if len(sizes) < last:
        raise UsageError(
            f"--sizes needs one size per count of --views, got {'+'.join(map(str, sizes))} for "
            f"{'+'.join(map(str, counts[:last]))}; give as many"
        )
    own = tuple(group.size_px for group in policy.groups)
    sizes = _filled(sizes, own, "sizes", policy)
    pairs = zip(policy.groups, sizes, strict=True)
    return replace(policy, groups=tuple(replace(g, size_px=size) for g, size in pairs))


def _filled(
    values: tuple[int, ...], rest: tuple[int, ...], flag: str, policy: Policy
) -> tuple[int, ...]:
    """The values with those of `rest` for the groups that they do not reach."""
    if len(values) > len(rest):
        raise UsageError(
            f"policy {policy.name} describes {counted(len(rest), 'crop group')}, got --{flag} "
            f"{'+'.join(map(str, values))}; give at most {len(rest)} numbers or another policy"
        )
    return values + rest[len(values) :]
