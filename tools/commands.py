"""The commands that pip installs: pyproject.toml names these functions.

Each begins as `python -m ...` does, before what takes seconds to import.
"""

from importlib import import_module

from trainer.command.begin import begin


def _run(module: str) -> int:
    begin()
    return import_module(module).main()


def shards() -> int:
    """`augengine-shards`: tools/make_shards.py."""
    return _run("tools.make_shards")


def check() -> int:
    """`augengine-check`: tools/check_shards.py."""
    return _run("tools.check_shards")


def views() -> int:
    """`augengine-views`: tools/show_views.py."""
    return _run("tools.show_views")


def masks() -> int:
    """`augengine-masks`: tools/make_masks.py."""
    return _run("tools.make_masks")


def profile() -> int:
    """`augengine-profile`: tools/profile_augment.py."""
    return _run("tools.profile_augment")


def epoch() -> int:
    """`augengine-epoch`: tools/simulate_epoch.py."""
    return _run("tools.simulate_epoch")


def train() -> int:
    """`augengine-train`: python -m trainer.run."""
    return _run("trainer.run")


def evaluate() -> int:
    """`augengine-evaluate`: python -m trainer.evaluate."""
    return _run("trainer.evaluate")


def export() -> int:
    """`augengine-export`: python -m trainer.export."""
    return _run("trainer.export")


def embed() -> int:
    """`augengine-embed`: python -m trainer.embed."""
    return _run("trainer.embed.__main__")


def report() -> int:
    """`augengine-report`: python -m trainer.report."""
    return _run("trainer.report.__main__")


def duplicates() -> int:
    """`augengine-duplicates`: tools/find_duplicates.py."""
    return _run("tools.find_duplicates")
