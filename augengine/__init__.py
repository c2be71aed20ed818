"""Bytes to views: a policy says what may happen, a plan what will, a backend makes it happen."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augengine.draw import draw_plan
    from augengine.pipeline import ViewLoader
    from augengine.plan import Plan
    from augengine.policies import load_policy
    from augengine.policy import Policy
    from augengine.views import Views

# Imported when asked for: some need torch, which takes a second, and a policy or a help text not.
_HOMES = {
    "Plan": "augengine.plan",
    "Policy": "augengine.policy",
    "ViewLoader": "augengine.pipeline",
    "Views": "augengine.views",
    "draw_plan": "augengine.draw",
    "load_policy": "augengine.policies",
}
__all__ = ["Plan", "Policy", "ViewLoader", "Views", "draw_plan", "load_policy"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
