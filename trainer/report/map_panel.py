"""The panel of the map: a point an image, near those with like features; it shows its image."""

from collections.abc import Sequence

import numpy as np

from shards.terminal.counted import counted
from trainer.report.embedding_map import NO_UMAP, in_unit_square, principal_plane, umap_plane
from trainer.report.held_out import HeldOut
from trainer.report.image_panels import NUM_COLOURS
from trainer.report.markup import SPACE, Markup, data_element, element, joined, percent
from trainer.report.panel import Panel, note, prefixed, side_by_side
from trainer.report.pictures import TILE_PX, atlas

SIDE = 1000  # of the map, in its own units
_MARGIN = 20


def map_panel(found: Sequence[HeldOut | str], names: Sequence[str]) -> Panel:
    """Principal components, and UMAP where it is installed; of each run."""
    parts, notes, left_out = [], [], []
    for i, held_out in enumerate(found):
        if isinstance(held_out, str):
            left_out.append(prefixed(i, len(found), f"The map is left out: {held_out}"))
            parts.append(None)
            continue
        body, text, has_umap = _map(held_out, i)
        parts.append(body)
        notes.append(note(prefixed(i, len(found), text)))
        left_out += [] if has_umap else [NO_UMAP]
    body = (side_by_side(parts, names), *notes) if any(parts) else ()
    return Panel("map", "Map of the embeddings", body, tuple(left_out))


def _map(held_out: HeldOut, run: int) -> tuple[Markup, str, bool]:
    plane, share = principal_plane(held_out.features)
    planes = {"PCA": plane}
    if (other := umap_plane(held_out.features)) is not None:
        planes["UMAP"] = other
    places = {name: _on_map(places) for name, places in planes.items()}
    labels = [shown.label for shown in held_out.points]
    classes = list(dict.fromkeys(sorted(filter(None, labels))))
    # Of more classes than colours each point shows its own when it is pointed at.
    colours = {name: i for i, name in enumerate(classes)} if len(classes) <= NUM_COLOURS else {}
    points = [
        element(
            "circle",
            cx=x,
            cy=y,
            r=8,
            class_=f"point c{colours[label]}" if label in colours else "point",
        )
        for (x, y), label in zip(places["PCA"], labels, strict=True)
    ]
    address, columns = atlas([shown.pixels for shown in held_out.points])
    data = {
        "places": places,
        "names": [shown.name for shown in held_out.points],
        "labels": labels,
        "columns": columns,
        "tile": TILE_PX,
    }
    frame = element(
        "svg", *points, viewBox=f"0 0 {SIDE} {SIDE}", role="img", class_="map", tabindex=0,
        aria_label="Map of the embeddings",
    )  # fmt: skip
    tip = element(
        "div", element("span", class_="thumb"), element("span", class_="words"), class_="tip",
        hidden="",
    )  # fmt: skip
    buttons = [
        element(
            "button", name, type="button", data_plane=name, aria_pressed=str(name == "PCA").lower()
        )
        for name in planes
    ]
    legend = [
        element("span", element("span", class_=f"chip c{i}"), SPACE, name, class_="entry")
        for name, i in colours.items()
    ]
    body = element(
        "div",
        element("div", *buttons, class_="buttons") if len(buttons) > 1 else Markup(""),
        element("div", frame, tip, class_="canvas"),
        element("div", *legend, class_="legend"),
        element("img", src=address, alt="", class_="atlas", hidden=""),
        data_element(f"map-{run}", data),
        class_="mapped",
        data_map=f"map-{run}",
    )
    text = f"{len(points):,} of {counted(held_out.num_held_out, 'held-out image')}; "
    text += "point at one to see it. "
    text += f"PCA: the two directions of most variance of unit features, {percent(share)} of it."
    if classes and not colours:
        text += (
            f" {len(classes):,} classes are too many to colour: those of the same class light up."
        )
    return joined(body), text, len(planes) > 1


def _on_map(places: np.ndarray) -> list[tuple[int, int]]:
    inner = _MARGIN + in_unit_square(places) * (SIDE - 2 * _MARGIN)
    return [(round(x), round(SIDE - y)) for x, y in inner.tolist()]
