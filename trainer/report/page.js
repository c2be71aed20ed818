"use strict";
// The map: the point nearest to the pointer shows its image, and its class lights up.
const REACH = 30; // from the pointer to a point, in the map's own units
for (const place of document.querySelectorAll("[data-map]")) {
  const data = JSON.parse(document.getElementById(place.dataset.map).textContent);
  const svg = place.querySelector("svg.map"), tip = place.querySelector(".tip");
  const thumb = tip.querySelector(".thumb"), words = tip.querySelector(".words");
  const points = [...svg.querySelectorAll("circle")];
  let plane = "PCA", here = -1;
  const address = place.querySelector(".atlas").src, shown = 98;
  thumb.style.backgroundImage = `url("${address}")`;
  thumb.style.backgroundSize = `${shown * data.columns}px auto`;
  const show = (i) => {
    if (i === here) return;
    here = i;
    tip.hidden = i < 0;
    const label = i < 0 ? "" : data.labels[i];
    points.forEach((point, j) => {
      point.classList.toggle("here", j === i);
      point.classList.toggle("dim", label !== "" && data.labels[j] !== label);
    });
    if (i < 0) return;
    const column = i % data.columns, row = Math.floor(i / data.columns);
    thumb.style.backgroundPosition = `${-shown * column}px ${-shown * row}px`;
    words.textContent = label === "" ? data.names[i] : `${label}: ${data.names[i]}`;
    const [x, y] = data.places[plane][i], width = svg.clientWidth, scale = width / 1000;
    tip.style.left = `${Math.min(Math.max(0, x * scale + 14), width - tip.offsetWidth)}px`;
    const above = y * scale - tip.offsetHeight - 14;
    tip.style.top = `${above >= 0 ? above : y * scale + 14}px`;
  };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect(), scale = 1000 / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = -1, least = Math.max(REACH, 12 * scale) ** 2;
    data.places[plane].forEach(([px, py], i) => {
      const square = (px - x) ** 2 + (py - y) ** 2;
      if (square < least) [best, least] = [i, square];
    });
    return best;
  };
  svg.addEventListener("pointermove", (event) => show(nearest(event)));
  svg.addEventListener("pointerdown", (event) => show(nearest(event)));
  svg.addEventListener("pointerleave", () => show(-1));
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) show((here + by + points.length) % points.length);
    if (event.key === "Escape") show(-1);
  });
  for (const button of place.querySelectorAll("[data-plane]")) {
    button.addEventListener("click", () => {
      show(-1);
      plane = button.dataset.plane;
      for (const other of place.querySelectorAll("[data-plane]"))
        other.setAttribute("aria-pressed", String(other === button));
      points.forEach((point, i) => {
        point.setAttribute("cx", data.places[plane][i][0]);
        point.setAttribute("cy", data.places[plane][i][1]);
      });
    });
  }
}
