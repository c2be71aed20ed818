"""The panel of what was run: data, method, machine; what was fitted and why; what auto became."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.report.markup import Markup, element, joined, table
from trainer.report.panel import MARKS, Panel, definitions, prefixed, side_by_side
from trainer.report.run_record import RunRecord, number

_OPEN = ("", "null", "auto")


def what_was_run(runs: Sequence[RunRecord]) -> Panel:
    """Of each run, side by side; of two, first the keys in which they differ."""
    names = [run.name for run in runs]
    parts: list[Markup] = []
    if len(runs) == 2:
        parts.append(_differences(runs[0], runs[1]))
    parts.append(side_by_side([joined(_facts(run), _details(run)) for run in runs], names))
    left_out = [
        prefixed(
            i,
            len(runs),
            f"config.yaml is shown as it stands, and nothing is made anew of it: "
            f"{run.config_problem}",
        )
        for i, run in enumerate(runs)
        if run.config is None
    ]
    left_out += [
        prefixed(i, len(runs), "The head of config.yaml, where a run writes its command, is gone.")
        for i, run in enumerate(runs)
        if not run.starts
    ]
    return Panel("run", "What was run", tuple(parts), tuple(left_out))


def differing_keys(first: RunRecord, second: RunRecord) -> list[tuple[str, str, str]]:
    """Key, value in the first, value in the second; a dash where a run has no such key."""
    keys = dict.fromkeys((*first.keys, *second.keys))
    rows = [(key, first.keys.get(key, "–"), second.keys.get(key, "–")) for key in keys]  # noqa: RUF001
    return [row for row in rows if row[1] != row[2]]


def _differences(first: RunRecord, second: RunRecord) -> Markup:
    rows = differing_keys(first, second)
    if not rows:
        return element("p", "Both runs have the same keys and values.")
    title = element("h3", "Keys that differ")
    return joined(title, table(("key", *MARKS), rows, ()))


def _facts(run: RunRecord) -> Markup:
    def key(name: str) -> str:
        value = run.keys.get(name, "")
        return "" if value in _OPEN else value

    last = run.starts[-1] if run.starts else {}
    steps = [step for record in run.records if (step := number(record, "step")) is not None]
    of_steps = number(last, "of_steps")
    done = f"{max(steps):,.0f}" if steps else "no record yet"
    length = f"{done} of {of_steps:,.0f} steps" if of_steps else f"{done} steps"
    optim = [key("optim.name"), _named("base rate", key("optim.base_lr"))]
    if optim[0] != "adamw":
        optim += [_named("base rate of biases and norms", key("optim.base_lr_1d"))]
        optim += [_named("momentum", key("optim.momentum"))]
    optim += [_named("weight decay", key("optim.weight_decay"))]
    return definitions(
        [
            ("Command", joined(*(element("code", str(s.get("command", ""))) for s in run.starts))),
            ("Started", ", ".join(str(s["date"]) for s in run.starts if "date" in s)),
            ("Data", key("data.train")),
            ("Held out", key("eval.data")),
            ("Method", key("method.name")),
            ("Encoder", _and(key("backbone.arch"), _named("width", key("backbone.width")))),
            ("Views", _views(run)),
            ("Length", _and(length, _named("epochs", key("loop.epochs")))),
            ("Batch", _and(f"{key('loop.batch_size')} images", _named("seed", key("loop.seed")))),
            ("Optimizer", ", ".join(filter(None, optim))),
            ("Machine", str(last.get("machine", ""))),
            ("Versions", str(last.get("versions", last.get("note", "")))),
        ]
    )


def _views(run: RunRecord) -> str:
    if run.config is None:
        return run.keys.get("policy.name", "")
    groups = run.config.policy.load().groups
    sizes = " + ".join(f"{group.count} of {group.size_px} px" for group in groups)
    return f"{sizes}, policy {run.config.policy.name}"


def _details(run: RunRecord) -> Markup:
    """What was fitted, what auto became, every key: to be opened."""
    parts = []
    fitted = [line.strip() for start in run.starts for line in _texts(start.get("notes"))]
    if fitted:
        rows = [_split(line) for line in fitted]
        parts.append(_folded("Fitted, and why", table(("key", "why"), rows, ()), is_open=True))
    found: dict[str, str] = {}
    for start in run.starts:
        auto = start.get("auto")
        found |= {str(k): str(v) for k, v in auto.items()} if isinstance(auto, Mapping) else {}
    if found:
        rows = [(key, value) for key, value in found.items()]
        parts.append(_folded("What auto became", table(("key", "value"), rows, ()), is_open=True))
    if run.keys:
        rows = list(run.keys.items())
        title = f"All {len(rows)} keys of config.yaml"
        parts.append(_folded(title, table(("key", "value"), rows, ())))
    return element("div", *parts, class_="details")


def _folded(title: str, body: Markup, *, is_open: bool = False) -> Markup:
    is_said = "open" if is_open else None
    return element("details", element("summary", title), body, open=is_said)


def _split(line: str) -> tuple[str, str]:
    """A note as its keys and its reason; a sentence without keys stands as the reason."""
    keys, colon, why = line.partition(": ")
    return (keys, why) if colon and "=" in keys else ("", line)


def _texts(value: Any) -> list[str]:
    return [str(line) for line in value] if isinstance(value, list) else []


def _named(name: str, value: str) -> str:
    return f"{name} {value}" if value else ""


def _and(*parts: str) -> str:
    return ", ".join(filter(None, parts))
