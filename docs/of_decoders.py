"""The CPU decoders' part of performance.md: what decoders_cpu.py measured."""

from make import results, table


def decoder_conditions() -> str:
    """The machine, the libraries, and what load there was beside."""
    report = results("decoders_cpu")
    done, settings = report["conditions"], report["settings"]
    libraries = ", ".join(f"{name} {version}" for name, version in report["libraries"].items())
    return (
        f"One thread of an {done['cpu']}, {done['date']}, load average "
        f"{done['load_average_1min']} at the start, so CPU time: the least of {settings['rounds']} "
        f"interleaved rounds of {settings['images']} images, and the median of the ratios inside a "
        f"round. {libraries}."
    )


def decoder_times() -> str:
    """Milliseconds an image, and times as fast as Pillow, for every kind of image."""
    found = results("decoders_cpu")["results"]
    head = ["CPU ms an image (times as fast as `pillow`)"]
    head += [f"{name}, {rows['kib_per_image']:g} KiB" for name, rows in found.items()]
    names = next(iter(found.values()))["decoders"]
    lines = []
    for name in (*names, "differ from Pillow"):
        cells = []
        for rows in found.values():
            of = rows["decoders"]
            if name in of:
                cells.append(f"{of[name]['ms']:.3f} ({of[name]['times_as_fast']:.2f})")
            else:
                odd = [n for n, row in of.items() if row["images_that_differ"]]
                cells.append(", ".join(odd) or "none")
        lines.append([name, *cells])
    return table(head, lines)
