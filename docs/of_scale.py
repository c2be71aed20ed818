"""The tables of scale-simulation.md: the simulated epoch, and the start on a billion samples."""

from typing import Any

from make import results, table

SHUFFLE = {"displacement": ".4f", "correlation": ".4f", "shards_per_batch": ",.0f"}
SHUFFLE |= {"entropy_bits": ".2f"}


def cases() -> list[dict[str, Any]]:
    """The results of tools/simulate_epoch.py, a size and an order each."""
    found = results("epoch")["cases"]
    return [{"shard_samples": case["num_samples"] // case["num_shards"], **case} for case in found]


def _table(head: str, cells: Any, words: tuple[int, ...] = (1,)) -> str:
    names = ["samples", "order", *head.split("|")]
    rows = ([f"{case['num_samples']:,}", case["order"], *cells(case)] for case in cases())
    return table(names, rows, words)


def _once() -> str:
    case, done = cases()[0], results("epoch")["conditions"]
    about = (
        f"{case['num_failures']} failures an epoch, each followed by another number of ranks; "
        f"global batch {case['batch_size']:,}, {case['shard_samples']:,} samples a shard, "
        f"seed {case['seed']}; {done['cores']} cores of an {done['cpu']}, {done['date']}, "
        f"commit {done['commit']}."
    )

    def cells(case: dict[str, Any]) -> list[str]:
        epoch = case["epoch"]
        counts = (epoch["steps"], epoch["steps_lost"], *epoch["times_seen"].values())
        all_steps = epoch["steps"] + epoch["steps_lost"]
        return [
            f"{epoch['worlds'][0]} to {epoch['worlds'][-1]}",
            *(f"{n:,}" for n in counts),
            f"{epoch['rank_splits_checked']:,} of {all_steps:,}",
            f"{epoch['state_bytes']} B",
        ]

    head = "ranks|steps|lost and done again|never|once|more often|rank splits checked|state"
    return f"{about}\n\n{_table(head, cells, (1, 2))}"


def _shuffle() -> str:
    return _table(
        "displacement|correlation|shards a batch|their entropy, bits",
        lambda case: [
            f"{case['shuffle'][key]:{form}} ({case['uniform'][key]:{form}})"
            for key, form in SHUFFLE.items()
        ],
    )


def _cost() -> str:
    worlds = list(cases()[0]["opens_per_shard"])
    heads = "|".join(f"{n} rank{'s' * (n != '1')}" for n in worlds)
    return _table(
        f"opens of a shard, all ranks: {heads}|MiB a rank",
        lambda case: [
            *(f"{n:,}" for n in case["opens_per_shard"].values()),
            f"{max(case['rank_bytes'].values()) / 2**20:.1f}",
        ],
    )


def _start() -> str:
    report = results("scale")
    found, settings, done = report["results"], report["settings"], report["conditions"]
    before, started, after = (found[f"{x}_mb"] for x in ("before", "started", "after_lookups"))
    lookups = settings["batch"] * settings["batches"]
    low, high = found["open_s_range"]
    rows = [
        ("index.npy", f"{found['index_bytes'] / 1e9:.1f} GB, mapped"),
        ("manifest.json", f"{found['manifest_bytes'] / 1e6:.1f} MB"),
        ("start, CPU time", f"{found['start_cpu_s']:.2f} s (wanted: under 2 s)"),
        ("opening, by the clock", f"{found['open_s']:.2f} s ({low:.2f} to {high:.2f})"),
        ("most resident memory at the start", f"{started['VmHWM']:.0f} MB (wanted: under 500 MB)"),
        ("of it Python and numpy", f"{before['VmRSS']:.0f} MB"),
        (f"the same after {lookups:,} lookups all over it", f"{after['VmHWM']:.0f} MB"),
        ("of it pages of the index, which the system may take back", f"{after['RssFile']:.0f} MB"),
        ("a lookup, CPU time", f"{found['lookup_cpu_us']:.0f} us"),
        (
            "data-side state of a checkpoint",
            f"{found['state_bytes']:.0f} B (wanted: under 1 KB), the cursor "
            f"{found['cursor_bytes']:.0f} B of it",
        ),
    ]
    about = (
        f"{settings['samples']:,} samples in {settings['shards']:,} shards, median of "
        f"{settings['repeats']} fresh processes; {done['cores']} cores of an {done['cpu']}, load "
        f"average {done['load_average_1min']}, {done['date']}, commit {done['commit']}."
    )
    return f"{about}\n\n{table(('', ''), rows)}"


BLOCKS = {"once": _once, "shuffle": _shuffle, "cost": _cost, "start": _start}
