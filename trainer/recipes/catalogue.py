"""The catalogue for --list: methods, recipes and view policies, each with its file's first line.

The files are read and not imported: a list needs no torch, which takes a second to load.
"""

from pathlib import Path

from augengine.policies import policy_names
from trainer.methods.method_table import describe_methods

RECIPES = Path(__file__).parent


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def catalogue() -> str:
    """A line each, with the flag that takes its name."""
    lines = ["methods (--method NAME):"]
    lines += [f"  {name:16} {what}" for name, what in describe_methods().items()]
    lines.append("recipes (--config NAME):")
    for name in recipe_names():
        first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
        lines.append(f"  {name:16} {first.lstrip('# ')}")
    lines.append(f"policies (--policy NAME): {', '.join(policy_names())}")
    return "\n".join(lines)
