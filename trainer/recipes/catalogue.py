"""The catalogue for --list: methods, terms, recipes and policies, ours and what others installed.

Each has the first line of its file. The files are read and not imported: a list needs no torch,
which takes a second to load, and runs nobody's code.
"""

from pathlib import Path

from augengine.policies import policy_names
from shards.plugins.entries import entries_of
from shards.plugins.find import KINDS, first_line_of
from trainer.methods.method_table import describe_methods
from trainer.terms.term_table import describe_terms

RECIPES = Path(__file__).parent


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def catalogue(own_method: str | None = None) -> str:
    """A line each, with the flag that takes its name; `own_method` is package.module:Class."""
    methods = describe_methods()
    if own_method is not None and ":" in own_method:
        methods[own_method] = first_line_of(own_method)
    lines = ["methods (--method NAME):"]
    lines += [f"  {name:20} {what}" for name, what in methods.items()]
    lines.append("terms, added to a method's loss or changing its step (--terms NAME,...):")
    lines += [f"  {name:20} {what}" for name, what in describe_terms().items()]
    lines.append("recipes (--config NAME):")
    for name in recipe_names():
        first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
        lines.append(f"  {name:20} {first.lstrip('# ')}")
    lines.append(f"policies (--policy NAME): {', '.join(policy_names())}")
    return "\n".join([*lines, *_installed()])


def _installed() -> list[str]:
    """The entry points of other packages, of every kind."""
    lines = [
        f"  {KINDS[kind]:10} {name:20} {first_line_of(entry.address)} ({entry.distribution})"
        for kind in KINDS
        for name, entry in entries_of(kind).items()
    ]
    return ["of other packages (entry points of augengine.KIND):", *lines] if lines else []
