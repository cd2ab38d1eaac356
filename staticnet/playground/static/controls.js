// What a tab is set to: labelled controls that change fields of its state.

import { element } from "./element.js";
import { colour } from "./surface.js";

const RATES = [0.00001, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const PENALTY_RATES = [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const NAMES = {
  square: "squared error", huber: "Huber", logistic: "logistic", none: "none", l1: "L1", l2: "L2",
  static: "static (compiled)", dynamic: "dynamic", epoch: "1 epoch a frame", ten: "10 epochs a frame",
  hundred: "100 epochs a frame", full: "full speed", relu: "ReLU", gelu: "GELU", silu: "SiLU", elu: "ELU",
  leaky_relu: "leaky ReLU", plane: "plane (numbers)", bumps: "bumps (numbers)",
};
export const named = (value) => NAMES[value] ?? String(value);
const SELECTS = [
  ["pace", "Speed"], ["engine", "Execution"], ["lr", "Learning rate", RATES], ["optimizer", "Optimizer"],
  ["activation", "Activation"], ["loss", "Loss"], ["penalty", "Penalty"],
  ["rate", "Penalty rate", PENALTY_RATES],
];
const SLIDERS = [
  ["split", "Training share", 10, (v) => `${v} %`], ["noise", "Noise", 5, String], ["batch", "Batch size", 1, String],
];

export class Controls {
  constructor(welcome, change) {
    this.change = change;
    this.welcome = welcome;
    this.fields = new Map();
    const settings = document.getElementById("settings");
    settings.addEventListener("submit", (event) => event.preventDefault());
    for (const [name, label, numbers] of SELECTS) settings.append(this.select(name, label, numbers ?? welcome.choices[name], Boolean(numbers)));
    const sliders = document.getElementById("sliders");
    for (const each of SLIDERS) sliders.append(this.slider(...each));
    document.getElementById("datasets").append(...welcome.choices.dataset.map((name) => this.thumb(name, welcome)));
    for (const name of ["test", "discrete"]) {
      const box = document.getElementById(name);
      box.addEventListener("change", () => change({ [name]: box.checked }));
      this.fields.set(name, (config) => { box.checked = config[name]; });
    }
  }

  select(name, label, values, numeric) {
    const made = element("select", { id: name }, ...values.map((value) => element("option", { value }, named(value))));
    made.addEventListener("change", () => this.change({ [name]: numeric ? Number(made.value) : made.value }));
    this.fields.set(name, (config) => {
      const value = String(config[name]);
      if (![...made.options].some((option) => option.value === value)) made.append(element("option", { value }, value));
      made.value = value;
      if (name === "loss") {
        for (const option of made.options) option.disabled = option.value === "logistic" && !this.welcome.classes.includes(config.dataset);
      }
      if (name === "rate") made.disabled = config.penalty === "none";
    });
    return element("label", {}, element("span", {}, label), made);
  }

  slider(name, label, step, told) {
    const [min, max] = this.welcome.bounds[name];
    const shown = element("output", { for: name });
    const made = element("input", { type: "range", id: name, min, max, step });
    made.addEventListener("input", () => { shown.textContent = told(Number(made.value)); });
    made.addEventListener("change", () => this.change({ [name]: Number(made.value) }));
    this.fields.set(name, (config) => {
      made.value = config[name];
      shown.textContent = told(config[name]);
    });
    return element("label", { class: "slider" }, element("span", {}, `${label}: `, shown), made);
  }

  thumb(name, welcome) {
    const radio = element("input", { type: "radio", name: "dataset", value: name, "aria-label": named(name) });
    const canvas = element("canvas", { width: 64, height: 64, "aria-hidden": "true" });
    const draw = () => {
      const context = canvas.getContext("2d"), points = welcome.thumbs[name], { edge } = welcome;
      context.clearRect(0, 0, 64, 64);
      for (let i = 0; i < points.length; i += 3) {
        context.fillStyle = colour(points[i + 2]);
        context.fillRect((points[i] + edge) * 32 / edge - 1.5, (edge - points[i + 1]) * 32 / edge - 1.5, 3, 3);
      }
    };
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    radio.addEventListener("change", () => {
      const more = welcome.classes.includes(name) || this.config?.loss !== "logistic" ? {} : { loss: "square" };
      this.change({ dataset: name, ...more });
    });
    this.fields.set(`dataset ${name}`, (config) => { radio.checked = config.dataset === name; });
    return element("label", { class: "thumb", title: named(name) }, radio, canvas,
      element("span", { "aria-hidden": "true" }, name));
  }

  show(config) {
    this.config = config;
    this.fields.forEach((show) => show(config));
  }
}
