"""The page in a real browser: from a file, narrow and wide, dark and light, without an error.

Needs a Chromium (Debian: apt-get install chromium) and playwright's client, which is a dev
dependency; where either is missing these tests are skipped, and say so.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported_run import reported_run, write_head, write_hostile_set, write_lines

from trainer.report.__main__ import main

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
PANELS = ("run", "learning", "scores", "measures", "time", "views", "neighbours", "map", "classes")
# What each panel is made of; every one of these has a size on the screen.
DRAWN = {
    "run": "dl.facts, details table",
    "learning": "svg.chart",
    "scores": "svg.chart",
    "measures": "svg.chart",
    "time": ".bar .piece, svg.chart",
    "views": ".source img, .view img",
    "neighbours": ".query img",
    "map": "svg.map, svg.map circle",
    "classes": ".classes tr, .level",
}

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Without its sandbox, which a container's root cannot have.
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one run and, as both.html, one of two."""
    folder = tmp_path_factory.mktemp("made")
    first, _ = reported_run(folder, "a")
    second, _ = reported_run(folder, "b", loop={"seed": 7, "epochs": 8.65, "batch_size": 8})
    assert main([str(first), "--out", str(folder / "one.html")]) == 0
    assert main([str(first), str(second), "--out", str(folder / "both.html")]) == 0
    return folder


class Opened:
    """A page that is open, and what the browser complained of."""

    def __init__(self, browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> None:
        size = {"width": width, "height": 900}
        self._context = browser.new_context(viewport=size, color_scheme=scheme)
        self.page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()


@pytest.mark.parametrize("name", ["one.html", "both.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_every_panel_is_drawn(name: str, scheme: str, width: int, browser: Any, made: Path) -> None:
    """Nothing is complained of or loaded, nothing is wider than the window, all has a size."""
    with Opened(browser, made / name, width, scheme) as opened:
        page = opened.page
        for panel in PANELS:
            found = page.query_selector_all(f"#{panel} :is({DRAWN[panel]})")
            assert found, panel
            for part in found:
                box = part.bounding_box()
                assert box is not None, panel
                assert min(box["width"], box["height"]) >= 1, (panel, box)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        broken = "[...document.images].filter(i => !i.hidden && !i.naturalWidth).length"
        assert page.evaluate(broken) == 0
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [
            (made / name).as_uri()
        ]


def test_dark_and_light_differ_and_can_be_read(browser: Any, made: Path) -> None:
    """Text and paper have a contrast of 7 or more (WCAG AAA) and faint text 4.5, in both."""
    papers = set()
    for scheme in ("light", "dark"):
        with Opened(browser, made / "one.html", scheme=scheme) as opened:
            colours = {
                name: opened.page.evaluate(
                    "s => getComputedStyle(document.querySelector(s))"
                    f".{'backgroundColor' if name == 'paper' else 'color'}",
                    selector,
                )
                for name, selector in (("paper", "body"), ("ink", "h1"), ("faint", ".note"))
            }
            lights = {name: luminance(colour) for name, colour in colours.items()}
            papers.add(colours["paper"])
            assert contrast(lights["ink"], lights["paper"]) >= 7
            assert contrast(lights["faint"], lights["paper"]) >= 4.5
            chart = "getComputedStyle(document.querySelector('svg.chart text')).fill"
            assert contrast(luminance(opened.page.evaluate(chart)), lights["paper"]) >= 4.5
    assert len(papers) == 2


def luminance(colour: str) -> float:
    """Of `rgb(1, 2, 3)`, as WCAG 2 has it."""
    shares = np.array([int(x) / 255 for x in colour[4:-1].split(",")])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def test_a_point_shows_its_image(browser: Any, made: Path) -> None:
    """Pointed at, a point shows picture and name, and its class stays lit; away, all is gone."""
    with Opened(browser, made / "one.html") as opened:
        page = opened.page
        page.locator("svg.map").scroll_into_view_if_needed()
        box = page.locator("svg.map circle").nth(4).bounding_box()
        assert box is not None
        assert page.locator(".tip").is_hidden()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert page.locator(".tip").is_visible()
        assert page.locator("circle.here").count() == 1
        data = page.evaluate("JSON.parse(document.getElementById('map-0').textContent)")
        circles = "[...document.querySelectorAll('svg.map circle')]"
        here = page.evaluate(f"{circles}.findIndex(c => c.classList.contains('here'))")
        words = page.locator(".tip .words").inner_text()
        assert words == f"{data['labels'][here]}: {data['names'][here]}"
        others = sum(label != data["labels"][here] for label in data["labels"])
        assert page.locator("circle.dim").count() == others > 0
        thumb = "getComputedStyle(document.querySelector('.thumb'))"
        assert page.evaluate(f"{thumb}.backgroundImage").startswith('url("data:image/webp')
        column, row = here % data["columns"], here // data["columns"]
        place = page.evaluate(f"{thumb}.backgroundPosition").replace("px", "").split()
        assert [round(float(x)) for x in place] == [-98 * column, -98 * row]
        page.mouse.move(2, 2)
        assert page.locator(".tip").is_hidden()
        assert page.locator("circle.dim").count() == 0
        assert opened.said == []


def test_the_map_shows_the_colour_that_the_image_has(browser: Any, made: Path) -> None:
    """The tile of the atlas is the image's own: of a red image, red."""
    with Opened(browser, made / "one.html") as opened:
        data = opened.page.evaluate("JSON.parse(document.getElementById('map-0').textContent)")
        draw = """i => {
          const image = document.querySelector('.atlas'), canvas = document.createElement('canvas');
          canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          const [column, row, side] = i;
          return [...context.getImageData(column * side + 20, row * side + 20, 1, 1).data];
        }"""
        for i, label in enumerate(data["labels"]):
            place = [i % data["columns"], i // data["columns"], data["tile"]]
            pixel = opened.page.evaluate(draw, place)[:3]
            assert int(np.argmax(pixel)) == ("red", "green", "blue").index(label), (i, pixel)


def test_a_hostile_run_runs_nothing(browser: Any, tmp_path: Path) -> None:
    """Script in names of classes, files, folders, records: no dialog, no error, no new element."""
    script, image = "<script>alert(1)</script>", "<img src=x onerror=alert(2)>"
    for data in ("train", f"{image}val"):
        write_hostile_set(tmp_path / data, [script, image, "c"], f'"{image}', len(data))
    held_out = {"data": str(tmp_path / f"{image}val"), "k": 5}
    run, _ = reported_run(tmp_path, f"{image}run", eval=held_out)
    write_head(run, {"command": script, "notes": [f"a=1: {script}"], "auto": {script: image}})
    write_lines(run / "metrics.jsonl", [{"step": 1, "epoch": 1, "loss": 1.0, "warning": script}])
    out = tmp_path / "hostile.html"
    assert main([str(run), "--out", str(out)]) == 0
    with Opened(browser, out, 400) as opened:
        opened.page.locator("svg.map").hover()
        assert script in opened.page.inner_text("#classes")
        assert opened.page.locator("script").count() == 2
        assert opened.page.locator("[onerror]").count() == 0
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
        assert opened.said == []


def test_the_policy_stops_what_would_be_smuggled_in(browser: Any, made: Path) -> None:
    """Were a name markup after all, the browser would refuse to run it."""
    page = (made / "one.html").read_text(encoding="utf-8")
    spoilt = made / "spoilt.html"
    spoilt.write_text(page.replace("<h1>", "<script>document.title='ran'</script><h1>"), "utf-8")
    with Opened(browser, spoilt) as opened:
        assert opened.page.title() != "ran"
        assert any("Content Security Policy" in text for text in opened.said)
