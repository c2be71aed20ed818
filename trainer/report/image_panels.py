"""The panels of images: the views that the encoder saw, and what is near what."""

from collections.abc import Sequence

from shards.terminal.counted import counted
from trainer.report.encoded_sets import Shown
from trainer.report.held_out import HeldOut, Query
from trainer.report.markup import Markup, element, joined
from trainer.report.panel import Panel, note, prefixed, side_by_side
from trainer.report.pictures import picture
from trainer.report.seen_views import SeenImage

NUM_COLOURS = 12  # of the page's style, that views and classes are told apart by


def views_panel(
    seen: Sequence[tuple[SeenImage, ...] | str],  # of each run; a sentence: why there are none
    names: Sequence[str],
) -> Panel:
    """An image a row, with the windows of its views, and the views."""
    parts = [None if isinstance(s, str) else element("div", *map(_seen, s)) for s in seen]
    left_out = [
        prefixed(i, len(seen), f"The views are left out: {why}")
        for i, why in enumerate(seen)
        if isinstance(why, str)
    ]
    if not any(parts):
        return Panel("views", "Views the encoder saw", (), tuple(left_out))
    text = (
        "The run's first images in its first epoch, drawn anew from policy and seed. Frames on the "
    )
    text += "source are the windows, in the views' colours; below a view its share of the source's "
    text += "area and what was done to it."
    both = (side_by_side(parts, names), note(text))
    return Panel("views", "Views the encoder saw", both, tuple(left_out))


def neighbours_panel(found: Sequence[HeldOut | str], names: Sequence[str]) -> Panel:
    """Twelve held-out images, and for each the voting images nearest to it."""
    parts, notes, left_out = [], [], []
    for i, held_out in enumerate(found):
        if isinstance(held_out, str):
            left_out.append(prefixed(i, len(found), f"The neighbours are left out: {held_out}"))
            parts.append(None)
            continue
        parts.append(element("div", *map(_query, held_out.queries), class_="queries"))
        text = f"Step {held_out.step:,}: left the held-out image, then the nearest of "
        text += f"{counted(held_out.num_voting, 'training image')} by the cosine of features, "
        text += "which stands below each."
        if held_out.no_labels:
            left_out.append(prefixed(i, len(found), f"No classes are shown: {held_out.no_labels}"))
        else:
            text += " A marked one is of another class."
        notes.append(note(prefixed(i, len(found), text)))
    body = (side_by_side(parts, names), *notes) if any(parts) else ()
    return Panel("neighbours", "Nearest neighbours of held-out images", body, tuple(left_out))


def _seen(image: SeenImage) -> Markup:
    height, width = image.pixels.shape[:2]
    frames = [
        element(
            "rect", class_=f"frame c{v % NUM_COLOURS}", fill="none",
            x=f"{100 * view.window[0]:.2f}", y=f"{100 * view.window[1]:.2f}",
            width=f"{100 * view.window[2]:.2f}", height=f"{100 * view.window[3]:.2f}",
        )
        for v, view in reversed(list(enumerate(image.views)))
    ]  # fmt: skip
    shape = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none"}
    source = element(
        "div",
        element("img", src=picture(image.pixels, 256), alt=""),
        element("svg", *frames, **shape),
        class_="source",
        style=f"aspect-ratio:{width}/{height}",
    )
    largest = max(view.size_px for view in image.views)
    views = [
        element(
            "div",
            element("img", src=picture(view.pixels), alt="", class_=f"c{v % NUM_COLOURS}"),
            element("span", view.done, class_="caption"),
            class_="view" if view.size_px > 0.6 * largest else "view small",
        )
        for v, view in enumerate(image.views)
    ]
    caption = element("span", f"{image.name}, {width} × {height} px", class_="caption")  # noqa: RUF001
    left = element("div", source, caption, class_="origin")
    return element("div", left, element("div", *views, class_="views"), class_="seen")


def _query(query: Query) -> Markup:
    near = [
        _tile(
            shown,
            f"{cosine:.2f}",
            is_odd=bool(query.image.label) and shown.label != query.image.label,
        )
        for shown, cosine in zip(query.neighbours, query.similarities, strict=True)
    ]
    first = _tile(query.image, query.image.label or query.image.name)
    return element(
        "div", element("div", first, class_="asked"), *near, class_="query", data_id=query.id
    )


def _tile(shown: Shown, caption: str, *, is_odd: bool = False) -> Markup:
    title = f"{shown.name}: {shown.label}" if shown.label else shown.name
    words = joined(
        element("img", src=picture(shown.pixels, 64), alt=title, title=title),
        element("span", caption, class_="caption"),
    )
    return element("div", words, class_="tile odd" if is_odd else "tile")
