// Static against dynamic, and each pass with a switch: what a step takes with and without.

import { count, element, number, seconds } from "./element.js";

export class Speed {
  constructor(root, welcome, change) {
    Object.assign(this, { welcome, change });
    this.measured = new Map();
    this.did = {};
    this.told = element("p");
    this.engines = element("div", { class: "engines" });
    this.passes = element("div", { class: "passes" });
    root.append(this.engines, this.told, element("h3", {}, "Passes"),
      element("p", { class: "quiet" }, "A pass that is switched off is left out, and the step compiled anew."), this.passes);
  }

  // what was measured is of one network, batch and optimizer
  show(config) {
    const { engine, without, features, layers, activation, loss, penalty, batch, optimizer } = config;
    const key = JSON.stringify([features, layers, activation, loss, penalty, batch, optimizer]);
    if (key !== this.key) this.measured.clear();
    Object.assign(this, { key, config, current: `${engine} ${engine === "static" ? without : ""}` });
    this.draw();
  }

  add(told) {
    this.measured.set(this.current, told.seconds_per_step);
    this.did = told.passes ?? {};
    const made = told.device ? `Compiled for ${told.device} in ${seconds(told.seconds)}: ${told.before} nodes became ` +
      `${told.after} in ${told.kernels} kernels; the arena takes ${count(told.arena)} bytes.`
      : "Each op runs as Python meets it; the gradient goes back over the tape.";
    this.told.textContent = made;
    this.draw();
  }

  compiling() {
    this.told.textContent = this.config?.engine === "dynamic" ? "" : "Compiling …";
  }

  draw() {
    const { config, measured } = this;
    const best = measured.get("static "), slow = measured.get("dynamic ");
    const bar = (name, key, time) => element("button", { type: "button", "aria-pressed": config.engine === key,
      onclick: () => this.change({ engine: key }) }, element("b", {}, name),
      element("span", {}, time ? `${seconds(time)} a step, ${count(1 / time)} steps/s` : "not measured yet"));
    const ratio = best && slow ? element("p", {}, `Compiled, a step is ${number(slow / best, 2)} times as fast.`) : "";
    this.engines.replaceChildren(bar("static", "static", best), bar("dynamic", "dynamic", slow), ratio);
    const focused = document.activeElement?.id;
    this.passes.replaceChildren(...this.welcome.choices.without.map(([name, about]) => this.pass(name, about, best)));
    if (focused?.startsWith("pass-")) document.getElementById(focused)?.focus();
  }

  pass(name, about, best) {
    const { config } = this, off = config.without.includes(name);
    const box = element("input", { type: "checkbox", id: `pass-${name}`, ...(off ? {} : { checked: true }) });
    box.addEventListener("change", () => this.change(({ without }) => ({
      engine: "static", without: box.checked ? without.filter((each) => each !== name) : [...without, name] })));
    const alone = this.measured.get(`static ${name}`);
    const [before, after] = this.did[name] ?? [];
    const changed = before === undefined ? "" : before === after ? "" : `${before} → ${after} nodes`;
    const ratio = best ? `, ${number(alone / best, 2)} × the time` : "";
    const time = alone ? `without it ${count(1 / alone)} steps/s${ratio}` : "";
    return element("label", {}, box, element("span", {}, element("code", {}, name), ` ${about}`),
      element("b", {}, [changed, time].filter(Boolean).join("; ")));
  }
}
