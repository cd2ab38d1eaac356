// The network: features, hidden units and the output as tiles, and weights as lines on a canvas.

import { element, fill, number } from "./element.js";
import { colour, lineColour, paint } from "./surface.js";

const TILE = 38, GAP = 14, HEAD = 62, WIDE = 210, NARROW = 80, BIAS = 8, REACH = 10;

// on.change(fields or a function of the state), on.unit([layer, unit] or null), on.hover(unit), on.feature(one or null),
// on.weight(place), on.assign(place, value); a place is {layer, to, source}, the source of a bias null
export class Net {
  constructor(root, links, welcome, on) {
    Object.assign(this, { root, links, welcome, on });
    this.lines = "weights";
    this.selected = null;
    this.frame = null;
    new ResizeObserver(() => this.config && this.place()).observe(root.parentElement);
    root.addEventListener("click", (event) => this.clicked(event));
    root.addEventListener("pointermove", (event) => this.point(event));
    root.addEventListener("pointerleave", () => this.point(null));
    this.card = element("div", { class: "card", hidden: true });
    root.addEventListener("keydown", (event) => this.moved(event));
  }

  build(config, shape) {
    const focused = document.activeElement?.dataset?.name;
    this.config = config;
    this.shape = shape;
    this.frame = null;
    this.root.replaceChildren(this.links, this.card);
    this.point(null);
    const active = config.features;
    this.features = this.welcome.features.map(({ name, label, surface }) => {
      const used = active.includes(name), tile = this.tile(`feature ${label}`, `f-${name}`, label);
      tile.setAttribute("aria-pressed", used);
      tile.classList.toggle("off", !used);
      const cells = Int8Array.from(surface);
      paint(tile.firstChild, cells, this.welcome.small);
      tile.addEventListener("pointerenter", () => this.on.feature({ label, cells }));
      tile.addEventListener("pointerleave", () => this.on.feature(null));
      tile.addEventListener("click", () => {
        this.on.change(({ features }) => {
          const next = features.includes(name) ? features.filter((each) => each !== name) : [...features, name];
          return { features: next.length ? next : features };
        });
      });
      return tile;
    });
    this.hidden = config.layers.map((units, layer) => Array.from({ length: units }, (_, unit) => {
      const tile = this.tile(`hidden ${layer + 1}, unit ${unit + 1}`, `u-${layer}-${unit}`, "");
      tile.setAttribute("aria-pressed", false);
      tile.addEventListener("click", () => this.choose([layer, unit]));
      tile.addEventListener("pointerenter", () => this.on.hover([layer, unit]));
      tile.addEventListener("pointerleave", () => this.on.hover(null));
      return tile;
    }));
    this.output = this.tile("output", "out", "");
    this.output.addEventListener("click", () => this.choose(null));
    this.heads = config.layers.map((units, layer) => this.head(units, layer));
    const labels = [element("p", { class: "column" }, "features")];
    this.labels = labels;
    this.root.append(...labels, ...this.features, ...this.heads, ...this.hidden.flat(), this.output);
    if (this.selected && !(this.selected[1] < (config.layers[this.selected[0]] ?? 0))) this.selected = null;
    this.rove();
    this.place();
    this.mark();
    if (focused) this.root.querySelector(`[data-name="${focused}"]`)?.focus();
  }

  tile(label, name, text) {
    return element("button", { type: "button", class: "tile", "aria-label": label, title: label, "data-name": name },
      element("canvas", { "aria-hidden": "true" }), element("span", { "aria-hidden": "true" }, text));
  }

  head(units, layer) {
    const [least, most] = this.welcome.bounds.units;
    const change = (by) => this.on.change(({ layers }) => ({
      layers: layers.map((n, i) => (i === layer ? Math.max(least, Math.min(most, n + by)) : n)) }));
    const button = (sign, what, by, off) => element("button", { type: "button", disabled: off,
      "data-name": `h-${layer}-${by}`,
      "aria-label": `${what} unit of hidden layer ${layer + 1}`, onclick: () => change(by) }, sign);
    return element("div", { class: "column" }, button("−", "Remove a", -1, units <= least),
      button("+", "Add a", 1, units >= most), element("span", {}, `${units} ${units > 1 ? "units" : "unit"}`));
  }

  // one unit is reached by the tab key, the others by arrows
  rove() {
    const [layer, unit] = this.selected ?? [0, 0];
    this.hidden.flat().forEach((tile) => { tile.tabIndex = -1; });
    const held = this.hidden[layer]?.[unit];
    if (held) held.tabIndex = 0;
  }

  place() {
    const columns = this.config.layers.length + 2, seen = this.root.parentElement.clientWidth;
    const spacing = Math.max(NARROW, Math.min(WIDE, (seen - TILE - 74) / (columns - 1)));
    const rows = Math.max(this.features.length, ...this.config.layers);
    const width = Math.max(seen - 4, (columns - 1) * spacing + TILE + 70), height = HEAD + rows * (TILE + GAP);
    this.root.style.width = `${width}px`;
    this.root.style.height = `${height}px`;
    const first = Math.max(44, (width - (columns - 1) * spacing - TILE) / 2);
    this.centres = new Map();
    const put = (tile, column, row) => {
      const x = first + column * spacing, y = HEAD + row * (TILE + GAP);
      tile.style.left = `${x}px`;
      tile.style.top = `${y}px`;
      this.centres.set(tile, [x + TILE / 2, y + TILE / 2]);
    };
    this.features.forEach((tile, i) => put(tile, 0, i));
    this.hidden.forEach((units, layer) => units.forEach((tile, i) => put(tile, layer + 1, i)));
    put(this.output, columns - 1, 0);
    this.labels[0].style.left = `${first + TILE / 2}px`;
    this.heads.forEach((head, i) => { head.style.left = `${first + (i + 1) * spacing + TILE / 2}px`; });
    const ratio = devicePixelRatio;
    this.links.width = width * ratio;
    this.links.height = height * ratio;
    this.links.style.width = `${width}px`;
    this.links.style.height = `${height}px`;
    this.drawLinks();
  }

  // [{layer, to, source, from: [x, y], end: [x, y], at}], at: its number among the parameters
  * all() {
    const used = this.features.filter((_, i) => this.config.features.includes(this.welcome.features[i].name));
    const columns = [used, ...this.hidden, [this.output]];
    for (const [layer, { sources, units, weight }] of this.shape.layers.entries()) {
      for (let to = 0; to < units; to++) {
        for (let source = 0; source < sources; source++) {
          const [x, y] = this.centres.get(columns[layer][source]), [u, v] = this.centres.get(columns[layer + 1][to]);
          yield { layer, to, source, from: [x + TILE / 2, y], end: [u - TILE / 2, v], at: weight + to * sources + source };
        }
      }
    }
  }

  // [{layer, to, source: null, x, y, at}]: a square at the lower left of each unit
  * biases() {
    const columns = [...this.hidden, [this.output]];
    for (const [layer, { units, bias }] of this.shape.layers.entries()) {
      for (let to = 0; to < units; to++) {
        const [x, y] = this.centres.get(columns[layer][to]), off = (TILE - BIAS) / 2;
        yield { layer, to, source: null, x: x - off - BIAS - 2, y: y + off, at: bias + to };
      }
    }
  }

  drawLinks() {
    const context = this.links.getContext("2d"), ratio = devicePixelRatio, { frame } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.links.width, this.links.height);
    const values = frame && (this.lines === "weights" ? frame.parameters : frame.gradients);
    const largest = values && this.lines === "gradients" ? Math.max(1e-12, ...values.map(Math.abs)) : 1;
    for (const line of this.all()) {
      const value = values ? values[line.at] / largest : 0, [x, y] = line.from, [u, v] = line.end, middle = (x + u) / 2;
      const chosen = this.weight && ["layer", "to", "source"].every((key) => this.weight[key] === line[key]);
      context.strokeStyle = chosen ? getComputedStyle(this.root).getPropertyValue("--focus") : lineColour(value);
      context.globalAlpha = chosen ? 1 : 0.25 + 0.75 * Math.min(1, Math.abs(value));
      context.lineWidth = Math.max(chosen ? 3 : 0.6, Math.min(9, 4 * Math.abs(value)));
      context.beginPath();
      context.moveTo(x, y);
      context.bezierCurveTo(middle, y, middle, v, u, v);
      context.stroke();
    }
    context.globalAlpha = 1;
    context.lineWidth = 1;
    context.strokeStyle = "#888";
    for (const { x, y, at } of this.biases()) {
      context.fillStyle = colour(values ? values[at] / largest : 0);
      context.fillRect(x - BIAS / 2, y - BIAS / 2, BIAS, BIAS);
      context.strokeRect(x - BIAS / 2, y - BIAS / 2, BIAS, BIAS);
    }
  }

  draw(frame) {
    this.frame = frame;
    if (this.pointed && !this.editing) this.tell();
    const { small } = this.welcome, { discrete } = this;
    let i = 0;
    this.hidden.forEach((units, layer) => units.forEach((tile, unit) => {
      paint(tile.firstChild, frame.units[i], small, discrete);
      const dead = frame.dead[i] === 1;
      if (tile.classList.toggle("dead", dead) !== tile.dead) {
        tile.dead = dead;
        const name = `hidden ${layer + 1}, unit ${unit + 1}${dead ? ": dead" : ""}`;
        tile.setAttribute("aria-label", name);
        tile.title = name;
        tile.lastChild.textContent = dead ? "dead" : "";
      }
      i += 1;
    }));
    paint(this.output.firstChild, frame.output, small, discrete);
    this.drawLinks();
  }

  choose(unit) {
    this.selected = unit;
    this.rove();
    this.mark();
    this.on.unit(unit);
  }

  mark() {
    this.hidden.forEach((units, layer) => units.forEach((tile, unit) => {
      tile.setAttribute("aria-pressed", this.selected?.[0] === layer && this.selected?.[1] === unit);
    }));
    this.output.setAttribute("aria-pressed", this.selected === null);
  }

  // the weight or bias that is meant by a place in the picture
  under(x, y) {
    for (const bias of this.biases()) if (Math.hypot(x - bias.x, y - bias.y) < BIAS) return bias;
    let best = null, least = REACH;
    for (const line of this.all()) {
      const [a, b] = line.from, [c, d] = line.end;
      if (x < a || x > c) continue;
      const far = Math.abs(height(x, a, b, c, d) - y);
      if (far < least) [best, least] = [line, far];
    }
    return best;
  }

  // a card beside the pointer tells the value of what lies there
  point(event) {
    if (this.editing && event) return;
    const box = this.root.getBoundingClientRect();
    const x = event ? event.clientX - box.left : 0, y = event ? event.clientY - box.top : 0;
    const over = event && !event.target.closest(".tile, button, .card");
    this.pointed = over ? this.under(x, y) : null;
    this.editing = false;
    this.card.hidden = !this.pointed;
    this.root.classList.toggle("pointed", Boolean(this.pointed));
    if (!this.pointed) return;
    const left = x > box.width / 2;
    this.card.style.left = `${x + (left ? -12 : 12)}px`;
    this.card.style.top = `${y + 14}px`;
    this.card.classList.toggle("left", left);
    this.tell();
  }

  name({ layer, to, source }) {
    const last = this.config.layers.length, unit = (l, i) => (l === last ? "the output" : `hidden ${l + 1}, unit ${i + 1}`);
    if (source === null) return `bias of ${unit(layer, to)}`;
    const label = () => this.welcome.features.find(({ name }) => name === this.config.features[source]).label;
    return `weight from ${layer ? unit(layer - 1, source) : label()} to ${unit(layer, to)}`;
  }

  tell() {
    const { frame, pointed } = this;
    const told = frame ? `: ${number(frame.parameters[pointed.at])}, gradient ${number(frame.gradients[pointed.at], 2)}` : "";
    this.card.textContent = this.name(pointed) + told;
  }

  // what was clicked is selected, and can be changed in the card
  clicked(event) {
    if (event.target.closest(".tile, button, .card")) return;
    this.editing = false;
    this.point(event);
    if (!this.pointed) return;
    const { layer, to, source, at } = this.pointed, place = { layer, to, source };
    this.on.weight(place);
    const [least, most] = this.welcome.bounds.value, name = this.name(place);
    const input = element("input", { type: "number", step: 0.1, min: least, max: most, "aria-label": name });
    if (this.frame) fill(input, this.frame.parameters[at], 2);
    const done = () => { this.editing = false; this.point(null); };
    input.addEventListener("input", () => {
      if (input.value && input.validity.rangeUnderflow === false && input.validity.rangeOverflow === false) this.on.assign(place, input.valueAsNumber);
    });
    input.addEventListener("keydown", ({ key }) => { if (key === "Escape" || key === "Enter") done(); });
    input.addEventListener("blur", done);
    this.card.replaceChildren(`${name} `, input);
    this.card.hidden = false;
    this.editing = true;
    input.focus({ preventScroll: true });
  }

  moved(event) {
    const [kind, layer, unit] = (event.target.dataset.name ?? "").split("-");
    const ways = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (kind !== "u" || !ways[event.key]) return;
    event.preventDefault();
    const [dx, dy] = ways[event.key], units = this.hidden[Number(layer) + dx];
    const next = units?.[Math.max(0, Math.min(units.length - 1, Number(unit) + dy))];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

// y at x of the curve from (a, b) to (c, d) that drawLinks draws
function height(x, a, b, c, d) {
  let low = 0, high = 1;
  for (let i = 0; i < 20; i++) {
    const t = (low + high) / 2, s = 1 - t;
    const at = s ** 3 * a + 3 * s * t * ((a + c) / 2) + t ** 3 * c;
    if (at < x) low = t; else high = t;
  }
  const t = low, s = 1 - t;
  return b * (s ** 3 + 3 * s * s * t) + d * (3 * s * t * t + t ** 3);
}
