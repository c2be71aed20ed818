"""Wrong values in right files: trees of plain values with a leaf or branch replaced, and YAML."""

import copy
from typing import Any

from hostile.damaged_bytes import Draw, picker
from hypothesis import strategies as st

_SPECIAL = (2**64, -(2**70), 10**400, 1e-320, "..", "../../x.tar", "/etc/passwd", "\0", "9" * 5000)
_SPECIAL += ("\ud800", [None] * 50, {"version": 1})
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
VALUES = st.sampled_from(_SPECIAL) | st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
# Spelled, since no dumper writes them.
_SCALARS = (
    *("~ yes 1_000 0b2 0o9 08 1e999 .nan -.inf 2001-13-45 1:60:60:60:60 = << &a *a | >- @".split()),
    *("!!int abc|!!float x|!!bool maybe|!!timestamp never|!!binary '%%'|!!null 3|!x y".split("|")),
    *("!!set {a}|!!omap [a]|!!map [1]|!!seq {}|!!python/name:os.system|*undefined".split("|")),
    *("!!python/object/apply:os.system [id]|{a: b|[a, b|- -|? x|%TAG|a: b: c".split("|")),
    *("--- a|... b|# c|[[1, 2], {a: 3}]|{[1]: 2}|{{}: 1}|{1: 2, 1: 3}|'unclosed".split("|")),
    *("0x" + "f" * 500, "1" * 6000, "'" + "x" * 9000 + "'", "[" * 3000, "{a: " * 3000, '"\\x"'),
    *("\x07", "\x85", "\u2028", "\ufeff", "\t"),
)


@st.composite
def changed_tree(draw: Draw, tree: Any) -> Any:
    """A copy with one to three places replaced, removed, added, renamed or repeated."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        tree = _change(draw, tree)
    return tree


def _change(draw: Draw, tree: Any) -> Any:
    """Walk down to a random place and change it there."""
    pick = picker(draw)
    is_list = isinstance(tree, list | tuple)
    if not (is_list or isinstance(tree, dict)) or not tree or pick(*range(10)) == 0:
        return _other(draw, tree)
    items = list(tree) if is_list else list(tree.items())
    at = draw(st.integers(0, len(items) - 1))
    kind = pick(*["inside"] * 7, "remove", "again", "rename")
    if kind == "remove":
        del items[at]
    elif kind == "again" and is_list:
        items += [items[at]] * pick(1, 100)
    elif is_list:
        items[at] = _change(draw, items[at])
    elif kind == "rename":
        items[at] = (pick("x", "", "version", 3), items[at][1])
    else:
        items[at] = (items[at][0], _change(draw, items[at][1]))
    return items if is_list else dict(items)


def _other(draw: Draw, tree: Any) -> Any:
    pick = picker(draw)
    kind = pick("value", "value", "near", "text", "nest")
    if kind == "near" and isinstance(tree, int):
        return tree * pick(-1, 2, 10**6) if pick(True, False) else float(min(tree, 2**60))
    if kind == "text":
        return str(tree)
    if kind == "nest":
        for _ in range(pick(1, 3, 90)):
            tree = [tree] if pick(True, False) else {"a": tree}
        return tree
    return draw(VALUES)


@st.composite
def changed_yaml(draw: Draw, text: str) -> tuple[str, bytes]:
    """The text with some of its scalars or lines changed, or a bomb; and what was done."""
    pick, lines = picker(draw), text.splitlines()
    name = pick("scalar", "scalar", "scalar", "key", "lines", "bomb")
    if name == "bomb":
        return name, _bomb(draw, text).encode()
    for _ in range(pick(1, 1, 2, 5)):
        at = draw(st.integers(0, len(lines) - 1))
        before, colon, after = lines[at].partition(": ")
        if name == "scalar":
            lines[at] = f"{before}{colon or ': '}{pick(*_SCALARS)}"
        elif name == "key":
            indent = before[: len(before) - len(before.lstrip(" -"))]
            lines[at] = f"{indent}{pick(*_SCALARS)}{colon}{after}"
        else:
            lines[at] = pick("", lines[at] * 2, "  " + lines[at], *lines)
    return name, ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def _bomb(draw: Draw, text: str) -> str:
    """A few lines that stand for billions of values, or for themselves."""
    pick = picker(draw)
    key = pick("groups", "data", "policy", "method", "x")
    kind = pick("list", "map", "merge", "self", "deep", "long")
    if kind == "self":
        return text + pick(f"{key}: &z [*z]\n", f"{key}: &z {{a: *z}}\n", f"{key}: &z\n  <<: *z\n")
    if kind == "deep":
        return text + f"{key}: " + "[" * 5_000 + "]" * 5_000 + "\n"
    if kind == "long":
        return text + f"{key}: [" + "1, " * pick(1_000, 200_000) + "1]\n"
    levels = pick(3, 9, 30)
    lines = ["b0: &a0 " + ("{a: b, c: d}" if kind == "merge" else "x" * pick(1, 5_000))]
    for level in range(1, levels):
        nine = ", ".join([f"*a{level - 1}"] * 9)
        maps = ", ".join(f"k{i}: *a{level - 1}" for i in range(9))
        value = {"list": f"[{nine}]", "map": f"{{{maps}}}", "merge": f"{{<<: [{nine}]}}"}[kind]
        lines.append(f"b{level}: &a{level} {value}")
    return "\n".join([*lines, *([text] if pick(True, False) else []), f"{key}: *a{levels - 1}\n"])
