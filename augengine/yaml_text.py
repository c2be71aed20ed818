"""YAML that somebody else wrote: plain values of a bounded size, or one reason why not.

Policies, recipes and overrides are read through here. PyYAML's safe loader runs nobody's code, but
a few lines of aliases can stand for billions of values or for themselves, and at odd scalars it
raises nearly anything.
"""

from typing import Any

import yaml

_MAX_CHARACTERS = 100_000  # also of what aliases stand for
_MAX_DEPTH = 50
_MAX_INT = 1 << 64


class YamlError(ValueError):
    """Text that is not read; the message is the reason."""


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which takes the last of two values of a key; here that is an error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                both = " and ".join(dict.fromkeys((str(lines[name]), str(line))))
                raise YamlError(f"a key has one value, got {key.value} twice (line {both})")
            lines[name] = line
        return node


def parse_yaml(text: str) -> Any:
    """The values of a YAML document; raises YamlError for all that is not a small, plain one."""
    if len(text) > _MAX_CHARACTERS:
        raise YamlError(f"it has over {_MAX_CHARACTERS:,} characters")
    try:
        _check_size(text)
        values = yaml.load(text, Loader=_PlainLoader)
        _check_numbers(values)
    except YamlError:
        raise
    except Exception as error:  # see above
        raise YamlError(str(error) or type(error).__name__) from None
    return values


def _check_size(text: str) -> None:
    """Refuse what is nested too deeply, or is too long once aliases are written out."""
    sizes: dict[str, int] = {}  # of what has an anchor, once it has ended
    open_nodes: list[tuple[str | None, int]] = []  # anchor and size so far
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > _MAX_DEPTH:
                raise YamlError(f"it is nested more than {_MAX_DEPTH} deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1 + len(event.value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise YamlError(f"*{event.anchor} stands for nothing before it")
            anchor, size = None, sizes[event.anchor]
        else:
            continue
        if size > _MAX_CHARACTERS:
            raise YamlError(f"its aliases stand for over {_MAX_CHARACTERS:,} characters")
        if anchor is not None:
            sizes[anchor] = size
        if open_nodes:
            outer, so_far = open_nodes[-1]
            open_nodes[-1] = outer, so_far + size


def _check_numbers(values: object) -> None:
    """Refuse integers that no float holds; hexadecimal ones have no other bound."""
    if isinstance(values, dict):
        for key, value in values.items():
            _check_numbers(key)
            _check_numbers(value)
    elif isinstance(values, list | tuple):
        for value in values:
            _check_numbers(value)
    elif isinstance(values, int) and abs(values) >= _MAX_INT:
        raise YamlError("a whole number has at most 64 bits")
