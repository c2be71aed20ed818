"""Bytes to views: a policy says what may happen, a plan what will, a backend makes it happen.

The files here are what a batch meets, in this order:

    policy.py       what may happen to a view: crop, colour, blur, each with its chance and range
    policies.py     the published policies by name, one's own by path, changes on top
                    (policy_file.py holds a file to its keys and types, yaml_text.py parses it)
    rng.py          uniform numbers from (seed, epoch, sample, view) alone
    windows.py      uniform numbers to crop windows, by the published rules
    draw.py         a policy and the numbers become a plan: only here is anything drawn
    plan.py         what will happen to each view, in plain arrays
    reference.py    the plan carried out slowly and plainly: what every backend is held against
    views.py        what happened: the finished views with their ids, labels and plan, what was bad
                    on the way to them, and their place in the stream

The wings carry it out. A batch meets `loader` (threads; its view_loader.py has the contract),
which asks `caches` and `decoders` for pixels and `backends` for views; these stand on `kernels` and
`devices`. `heavy` says what makes heavy views of finished ones. The contract `augengine` in
setup.cfg says which may import which.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augengine.draw import draw_plan
    from augengine.loader.make_views import make_views
    from augengine.loader.open_views import open_views
    from augengine.loader.view_loader import ViewLoader
    from augengine.plan import Plan
    from augengine.policies import load_policy
    from augengine.policy import Policy
    from augengine.views import Views

# Imported when asked for: some need torch, which takes a second, and a policy or a help text not.
_HOMES = {
    "Plan": "augengine.plan",
    "Policy": "augengine.policy",
    "ViewLoader": "augengine.loader.view_loader",
    "Views": "augengine.views",
    "draw_plan": "augengine.draw",
    "load_policy": "augengine.policies",
    "make_views": "augengine.loader.make_views",
    "open_views": "augengine.loader.open_views",
}
__all__ = [
    "Plan",
    "Policy",
    "ViewLoader",
    "Views",
    "draw_plan",
    "load_policy",
    "make_views",
    "open_views",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
