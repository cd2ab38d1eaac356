// The weights into the chosen unit, to be read and changed; and the derivative of one, step by step.

import { element, fill, number } from "./element.js";

export class Weights {
  constructor(root, welcome, on) {
    Object.assign(this, { root, welcome, on });
    this.table = element("table", { class: "weights" });
    this.derivation = element("div", { class: "derivation" });
    this.title = element("h3");
    root.append(element("div", { class: "two" }, element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Weights" }, this.title, this.table), this.derivation));
  }

  build(config, shape, unit) {
    this.shape = shape;
    const last = config.layers.length, layer = unit ? unit[0] : last, to = unit ? unit[1] : 0;
    this.layer = layer;
    this.to = to;
    this.title.textContent = unit ? `Into hidden ${layer + 1}, unit ${to + 1}` : "Into the output";
    const label = (name) => this.welcome.features.find((each) => each.name === name).label;
    const names = layer === 0 ? config.features.map(label)
      : Array.from({ length: config.layers[layer - 1] }, (_, i) => `hidden ${layer}, unit ${i + 1}`);
    this.rows = [...names, null].map((name, i) => this.row(name, name === null ? null : i));
    this.table.replaceChildren(
      element("thead", {}, element("tr", {}, ...["from", "weight", "gradient", ""].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...this.rows.map(({ line }) => line)));
  }

  row(name, source) {
    const [least, most] = this.welcome.bounds.value;
    const place = { layer: this.layer, to: this.to, source }, what = name ?? "bias";
    const input = element("input", { type: "number", step: "any", min: least, max: most, "aria-label": `weight from ${what}` });
    input.addEventListener("change", () => {
      const value = input.valueAsNumber;
      if (value >= least && value <= most) this.on.assign(place, value);
    });
    const gradient = element("td", { class: "number" });
    const button = element("button", { type: "button", "aria-label": `derive by ${what}`, onclick: () => this.on.select(place) }, "derive");
    const line = element("tr", {}, element("th", { scope: "row" }, what), element("td", {}, input), gradient, element("td", {}, button));
    return { line, input, gradient, source };
  }

  draw(frame) {
    const { weight, bias, sources } = this.shape.layers[this.layer];
    for (const { input, gradient, source } of this.rows) {
      const at = source === null ? bias + this.to : weight + this.to * sources + source;
      if (document.activeElement !== input) fill(input, frame.parameters[at], 4);
      gradient.textContent = number(frame.gradients[at], 2);
    }
  }

  // what the session tells of the selected weight
  show(told, formula) {
    const steps = told.steps.map(({ what, rule, numbers }) => element("li", {},
      element("b", {}, what), element("span", {}, rule), element("code", {}, numbers.map((x) => number(x, 4)).join("  "))));
    const [x, y, label] = told.point.map((value) => number(value));
    const state = Object.entries(told.state).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, number(value, 4))));
    this.derivation.replaceChildren(
      element("h3", {}, `∂L/∂w: ${told.name}`),
      element("p", { class: "quiet" }, `At the training point that is worst, (${x}, ${y}) with label ${label}, from the loss back to the weight:`),
      element("ol", {}, ...steps),
      element("dl", { class: "facts" },
        element("div", {}, element("dt", {}, "mean over the training points, by the graph"), element("dd", {}, number(told.gradient, 4))),
        element("div", {}, element("dt", {}, "by a difference of the loss"), element("dd", {}, number(told.difference, 4)))),
      ...this.rules(told.rules),
      element("h3", {}, "Optimizer"), element("p", {}, element("code", {}, formula)),
      state.length ? element("dl", { class: "facts" }, ...state) : element("p", { class: "quiet" }, "It keeps nothing for a weight."));
  }

  // the unit's own derivative by the weight, one rule of an op at a time
  rules(rules) {
    if (!rules.length) return [];
    const items = rules.map(([text, rule]) => element("li", {}, element("code", {}, text), element("span", {}, rule)));
    const made = element("details", { class: "rules" }, element("summary", {}, "The unit's da/dw, rule by rule"), element("ol", {}, ...items));
    made.open = this.unfolded ?? false;
    made.addEventListener("toggle", () => { this.unfolded = made.open; });
    return [made];
  }

  clear(formula) {
    this.derivation.replaceChildren(element("h3", {}, "Derivative"),
      element("p", { class: "quiet" }, "Choose a line of the network, or “derive” in the table."),
      element("h3", {}, "Optimizer"), element("p", {}, element("code", {}, formula)));
  }
}
