"use strict";
// The drawing that answers: algorithms on and off, a stretch enlarged, values read.
// Everything it shows is in the page; it asks for nothing else.
(function () {
  const section = document.getElementById("explore");
  const data = JSON.parse(document.getElementById("explore-data").textContent);
  if (!section || !data.views.length) return;
  const NS = "http://www.w3.org/2000/svg";
  const DASH = ["", "6 3", "2 2", "8 3 2 3"];
  const svg = section.querySelector("svg");
  const out = section.querySelector("output");
  const state = { view: 0, off: new Set(), mute: new Set(), from: 0, to: 1, at: null };

  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };
  const prefix = (value, unit) => {
    if (value === 0) return "0 " + unit;
    if (unit === "%") return (value * 100).toPrecision(3) + " %";
    if (unit === "") return value.toPrecision(4);
    const all = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
    const size = Math.abs(value);
    const [scale, letter] = all.find(([scale]) => size >= scale * 0.9995) || all[all.length - 1];
    if ((unit === "B" || unit === "B/s") && scale < 1) return value.toPrecision(3) + " " + unit;
    return parseFloat((value / scale).toPrecision(4)) + " " + letter + unit;
  };
  const fold = (log) => (log ? (v) => Math.log10(v) : (v) => v);
  const unfold = (log) => (log ? (v) => Math.pow(10, v) : (v) => v);
  const visible = () => data.views[state.view].lines
    .filter((line) => !state.off.has(line.a) && !state.mute.has(line.d));
  const reach = (view) => {
    const f = fold(view.x.log);
    let low = Infinity, high = -Infinity;
    for (const line of view.lines) for (const [x] of line.p) {
      if (view.x.log && x <= 0) continue;
      low = Math.min(low, f(x)); high = Math.max(high, f(x));
    }
    return high > low ? [low, high] : [low - 0.5, low + 0.5];
  };
  // The last point at or left of x; straight in between where the view is no staircase.
  const valueAt = (line, x, steps) => {
    const p = line.p;
    if (!p.length || x < p[0][0] || x > p[p.length - 1][0]) return null;
    let low = 0, high = p.length - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (p[mid][0] <= x) low = mid; else high = mid - 1; }
    if (steps || low + 1 >= p.length || p[low + 1][0] === p[low][0]) return p[low][1];
    const share = (x - p[low][0]) / (p[low + 1][0] - p[low][0]);
    return p[low][1] + share * (p[low + 1][1] - p[low][1]);
  };
  const ticks = (low, high, log, wanted) => {
    if (log) {
      const found = [];
      const step = Math.max(1, Math.ceil((high - low) / wanted));
      for (let e = Math.ceil(low - 1e-9); e <= high + 1e-9; e += step) found.push(e);
      if (found.length > 1) return found;
      return [low, (low + high) / 2, high];
    }
    const rough = (high - low) / wanted;
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step);
    return found;
  };
  let geometry = null;

  function draw() {
    const view = data.views[state.view];
    const width = Math.max(280, section.querySelector(".chart").clientWidth);
    const height = Math.round(Math.min(460, Math.max(260, width * 0.48)));
    const box = { left: 64, right: width - 12, top: 12, bottom: height - 40 };
    const fx = fold(view.x.log), fy = fold(view.y.log);
    const [first, last] = reach(view);
    const x0 = first + state.from * (last - first), x1 = first + state.to * (last - first);
    const lines = visible();
    let low = Infinity, high = -Infinity;
    for (const line of lines) for (const [x, y] of line.p) {
      const place = view.x.log && x <= 0 ? first : fx(x);
      if (place < x0 - 1e-9 || place > x1 + 1e-9 || (view.y.log && y <= 0)) continue;
      low = Math.min(low, fy(y)); high = Math.max(high, fy(y));
    }
    if (!view.y.log) { low = Math.min(low, 0); if (view.limit) high = Math.max(high, view.limit); }
    if (!(high > low)) { high = (isFinite(high) ? high : 0) + 1; low = isFinite(low) ? low : 0; }
    high += (high - low) * 0.04;
    const px = (x) => box.left + ((view.x.log && x <= 0 ? first : fx(x)) - x0) / (x1 - x0) * (box.right - box.left);
    const py = (y) => box.bottom - ((view.y.log && y <= 0 ? low : fy(y)) - low) / (high - low) * (box.bottom - box.top);
    geometry = { box, x0, x1, first, last, px, py, view };
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    const clip = make("clipPath", { id: "explore-clip" }, svg);
    make("rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }, clip);
    for (const value of ticks(low, high, view.y.log, 5)) {
      const y = box.bottom - (value - low) / (high - low) * (box.bottom - box.top);
      make("path", { class: "l grid", d: "M" + box.left + " " + y + "H" + box.right }, svg);
      make("text", { class: "w muted e", x: box.left - 6, y: y + 4, "font-size": 11 }, svg, prefix(unfold(view.y.log)(value), view.y.unit));
    }
    for (const value of ticks(x0, x1, view.x.log, Math.max(2, Math.floor(width / 130)))) {
      const x = box.left + (value - x0) / (x1 - x0) * (box.right - box.left);
      make("path", { class: "l grid", d: "M" + x + " " + box.top + "V" + box.bottom }, svg);
      make("text", { class: "w muted m", x: x, y: box.bottom + 16, "font-size": 11 }, svg, prefix(unfold(view.x.log)(value), view.x.unit));
    }
    make("text", { class: "w text m", x: (box.left + box.right) / 2, y: height - 6, "font-size": 12 }, svg, view.x.name + " → " + view.y.name);
    const plot = make("g", { "clip-path": "url(#explore-clip)" }, svg);
    if (view.limit) make("path", { class: "l limit", "stroke-dasharray": "7 4", d: "M" + box.left + " " + py(view.limit) + "H" + box.right }, plot);
    for (const line of lines) {
      const rank = data.algorithms.indexOf(line.a), driver = data.drivers.indexOf(line.d);
      let d = "", before = null;
      for (const [x, y] of line.p) {
        const at = px(x).toFixed(1), up = py(y).toFixed(1);
        d += before === null ? "M" + at + " " + up : view.steps ? "H" + at + "V" + up : "L" + at + " " + up;
        before = up;
      }
      const path = make("path", { class: "l s" + rank % data.series, d: d, "stroke-width": driver ? 1.3 : 1.9, "stroke-dasharray": DASH[driver % DASH.length], "data-algorithm": line.a, "data-driver": line.d }, plot);
      if (rank >= data.series) path.setAttribute("stroke-opacity", "0.6");
    }
    for (const [x, words] of view.marks || []) {
      make("path", { class: "l muted", "stroke-dasharray": "2 3", d: "M" + px(x) + " " + box.top + "V" + box.bottom }, plot);
      make("text", { class: "w muted r", x: px(x) + 4, y: box.top + 12, "font-size": 11 }, plot, words);
    }
    read();
  }

  function read() {
    svg.querySelectorAll(".cursor").forEach((node) => node.remove());
    if (state.at === null) { out.textContent = section.dataset.hint; return; }
    const { view, box, px, py, first, last } = geometry;
    const x = unfold(view.x.log)(first + state.at * (last - first));
    const at = Math.min(box.right, Math.max(box.left, px(x)));
    make("path", { class: "l axis cursor", d: "M" + at + " " + box.top + "V" + box.bottom }, svg);
    const rows = visible().map((line) => [line, valueAt(line, x, view.steps)]).filter(([, y]) => y !== null)
      .sort((one, other) => other[1] - one[1]);
    for (const [line, y] of rows) {
      const rank = data.algorithms.indexOf(line.a);
      if (py(y) >= box.top && py(y) <= box.bottom + 0.5) make("circle", { class: "f cursor s" + rank % data.series, cx: at, cy: py(y), r: 3.2 }, svg);
    }
    out.replaceChildren();
    const head = document.createElement("strong");
    head.textContent = view.x.name + " " + prefix(x, view.x.unit);
    out.appendChild(head);
    const list = document.createElement("ul");
    for (const [line, y] of rows) {
      const item = document.createElement("li");
      const dot = document.createElement("i");
      dot.className = "s" + data.algorithms.indexOf(line.a) % data.series;
      item.append(dot, line.a + (data.drivers.length > 1 ? ", " + line.d : "") + ": " + prefix(y, view.y.unit));
      list.appendChild(item);
    }
    out.appendChild(list);
  }

  const shareOf = (event) => {
    const { box, x0, x1, first, last } = geometry;
    const frame = svg.getBoundingClientRect();
    const x = (event.clientX - frame.left) * svg.viewBox.baseVal.width / frame.width;
    const inside = Math.min(1, Math.max(0, (x - box.left) / (box.right - box.left)));
    return (x0 + inside * (x1 - x0) - first) / (last - first);
  };
  const zoom = (from, to) => {
    if (to - from < 1e-4) return;
    state.from = Math.max(0, from); state.to = Math.min(1, to);
    section.querySelector("[data-reset]").disabled = state.from === 0 && state.to === 1;
    draw();
  };
  const zoomBy = (factor, around) => zoom(around - (around - state.from) * factor, around + (state.to - around) * factor);
  let pressed = null;
  svg.addEventListener("pointerdown", (event) => { pressed = shareOf(event); state.at = pressed; read(); });
  svg.addEventListener("pointermove", (event) => {
    state.at = shareOf(event); read();
    if (pressed === null || !(event.buttons & 1)) return;
    const { box, px, view, first, last } = geometry;
    const place = (share) => px(unfold(view.x.log)(first + share * (last - first)));
    const [a, b] = [place(pressed), place(state.at)].sort((one, other) => one - other);
    make("rect", { class: "f cursor s0", "fill-opacity": 0.15, x: a, y: box.top, width: b - a, height: box.bottom - box.top }, svg);
  });
  window.addEventListener("pointerup", (event) => {
    if (pressed === null) return;
    const [from, to] = [pressed, event.target === svg || svg.contains(event.target) ? shareOf(event) : state.at].sort((one, other) => one - other);
    pressed = null;
    if (to - from > (state.to - state.from) * 0.02) zoom(from, to);
  });
  svg.addEventListener("pointerleave", () => { if (pressed === null) { state.at = null; read(); } });
  svg.addEventListener("dblclick", () => zoom(0, 1));
  svg.addEventListener("keydown", (event) => {
    const step = (state.to - state.from) / 50;
    const middle = state.at === null ? (state.from + state.to) / 2 : state.at;
    if (event.key === "ArrowLeft") state.at = Math.max(state.from, middle - step);
    else if (event.key === "ArrowRight") state.at = Math.min(state.to, middle + step);
    else if (event.key === "+" || event.key === "=") return zoomBy(0.5, middle);
    else if (event.key === "-") return zoomBy(2, middle);
    else if (event.key === "Escape" || event.key === "0") { state.at = null; return zoom(0, 1); }
    else return;
    event.preventDefault(); read();
  });
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));
  section.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
    state.view = Number(button.dataset.view); state.from = 0; state.to = 1; state.at = null;
    section.querySelectorAll("[data-view]").forEach((other) => press(other, other === button));
    draw();
  }));
  for (const [kind, set] of [["algorithm", state.off], ["driver", state.mute]]) {
    section.querySelectorAll("[data-" + kind + "]").forEach((button) => {
      if (button.namespaceURI === NS) return;
      const name = button.dataset[kind];
      button.addEventListener("click", () => {
        if (set.has(name)) set.delete(name); else set.add(name);
        press(button, !set.has(name)); draw();
      });
    });
  }
  const all = (off) => {
    state.off.clear();
    if (off) data.algorithms.forEach((name) => state.off.add(name));
    section.querySelectorAll("button[data-algorithm]").forEach((button) => press(button, !off));
    draw();
  };
  section.querySelector("[data-all]").addEventListener("click", () => all(false));
  section.querySelector("[data-none]").addEventListener("click", () => all(true));
  section.querySelector("[data-in]").addEventListener("click", () => zoomBy(0.5, state.at === null ? (state.from + state.to) / 2 : state.at));
  section.querySelector("[data-reset]").addEventListener("click", () => zoom(0, 1));
  section.hidden = false;
  draw();
  new ResizeObserver(draw).observe(section.querySelector(".chart"));
})();
