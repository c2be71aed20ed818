"""Wrong values in right files: trees of plain values with one leaf or branch replaced, and YAML.

`fuzz_kinds.py` uses it for manifests, checkpoints, recipes and policies, whose writers never write
what stands here.
"""

import copy
import random
from collections.abc import Callable
from typing import Any

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1e308, -1.5, 1e-320),
    *(
        float("nan"),
        float("inf"),
        "",
        "x",
        "..",
        "../../x.tar",
        "/etc/passwd",
        "\0",
        "\n",
        "9" * 5000,
    ),
    *("\ud800", "é" * 300, [], {}, [[]], {"": None}, [1, 2, 3], ["a"], {"version": 1}, [None] * 50),
)
# Spelled, since no dumper writes them.
_SCALARS = (
    *(
        "~",
        "yes",
        "0x" + "f" * 500,
        "1" * 6000,
        "1e999",
        ".nan",
        "-.inf",
        "1_000",
        "0b2",
        "0o9",
        "08",
    ),
    *("1:60:60:60:60", "2001-13-45", "2001-02-30 25:61:61", "=", "<<", "!!int abc", "!!float x"),
    *("!!bool maybe", "!!timestamp never", "!!binary '%%'", "!!null 3", "!!set {a}", "!!omap [a]"),
    *(
        "!!python/object/apply:os.system [id]",
        "!!python/name:os.system",
        "!x y",
        "!!map [1]",
        "!!seq {}",
    ),
    *(
        "'unclosed",
        '"\\x"',
        "{a: b",
        "[a, b",
        "- -",
        "? x",
        "&a",
        "*a",
        "*undefined",
        "|",
        ">-",
        "%TAG",
        "@",
    ),
    *("[[1, 2], {a: 3}]", "{[1]: 2}", "{{}: 1}", "'" + "x" * 9000 + "'", "[" * 3000, "{a: " * 3000),
    *("\x07", "\x85", "\u2028", "\ufeff", "a: b: c", "--- a", "... b", "# c", "\t", "{1: 2, 1: 3}"),
)


def mutate_tree(tree: Any, rng: random.Random) -> Any:
    """A copy with one to three places replaced, removed, added, renamed or repeated."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _change(tree, rng)
    return tree


def mutate_yaml(text: str, rng: random.Random) -> tuple[str, str]:
    """The text with some of its scalars or lines changed, or a bomb, and what was done."""
    name = rng.choice(("scalar", "scalar", "scalar", "key", "lines", "bomb"))
    lines = text.splitlines()
    if name == "bomb":
        return name, _bomb(text, rng)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        before, colon, after = lines[at].partition(": ")
        if name == "scalar":
            lines[at] = f"{before}{colon or ': '}{rng.choice(_SCALARS)}"
        elif name == "key":
            indent = before[: len(before) - len(before.lstrip(" -"))]
            lines[at] = f"{indent}{rng.choice(_SCALARS)}{colon}{after}"
        else:
            lines[at] = rng.choice(("", lines[at] * 2, "  " + lines[at], rng.choice(lines)))
    return name, "\n".join(lines) + "\n"


def _bomb(text: str, rng: random.Random) -> str:
    """A few lines that stand for billions of values, or for themselves."""
    kind, levels = (
        rng.choice(("list", "map", "merge", "self", "deep", "long")),
        rng.choice((3, 9, 30)),
    )
    key = rng.choice(("groups", "data", "policy", "method", "x"))
    if kind == "self":
        return text + rng.choice(
            (f"{key}: &z [*z]\n", f"{key}: &z {{a: *z}}\n", f"{key}: &z\n  <<: *z\n")
        )
    if kind == "deep":
        return text + f"{key}: " + "[" * 5_000 + "]" * 5_000 + "\n"
    if kind == "long":
        return text + f"{key}: [" + "1, " * rng.choice((1_000, 200_000)) + "1]\n"
    first = "&a0 {a: b, c: d}" if kind == "merge" else "&a0 " + "x" * rng.choice((1, 5_000))
    bomb = [f"b0: {first}"]
    for level in range(1, levels):
        nine = ", ".join([f"*a{level - 1}"] * 9)
        maps = ", ".join(f"k{i}: *a{level - 1}" for i in range(9))
        value = {"list": f"[{nine}]", "map": f"{{{maps}}}", "merge": f"{{<<: [{nine}]}}"}[kind]
        bomb.append(f"b{level}: &a{level} {value}")
    used = f"{key}: *a{levels - 1}"
    return rng.choice(("\n".join([*bomb, used]), "\n".join([*bomb, text, used]))) + "\n"


def _change(tree: Any, rng: random.Random) -> Any:
    """Walk down to a random place and change it there."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        kind = rng.random()
        if kind < 0.1:
            del tree[key]
        elif kind < 0.15:
            tree[rng.choice(("x", "", "version", 3))] = tree[key]
        else:
            tree[key] = _change(tree[key], rng)
        return tree
    if isinstance(tree, list | tuple) and tree and rng.random() < 0.9:
        items = list(tree)
        at = rng.randrange(len(items))
        kind = rng.random()
        if kind < 0.1:
            del items[at]
        elif kind < 0.2:
            items += [items[at]] * rng.choice((1, 100))
        else:
            items[at] = _change(items[at], rng)
        return items
    return rng.choice(_CHANGES)(tree, rng)


def _nest(tree: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 3, 90))):
        tree = [tree] if rng.random() < 0.5 else {"a": tree}
    return tree


_CHANGES: tuple[Callable[[Any, random.Random], Any], ...] = (
    lambda tree, rng: copy.deepcopy(rng.choice(_VALUES)),
    lambda tree, rng: copy.deepcopy(rng.choice(_VALUES)),
    lambda tree, rng: tree * rng.choice((-1, 2, 10**6)) if isinstance(tree, int) else str(tree),
    lambda tree, rng: float(tree) if isinstance(tree, int) and abs(tree) < 1e300 else [tree],
    _nest,
)
