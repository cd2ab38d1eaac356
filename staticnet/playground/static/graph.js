// What was compiled: its page, the C of its kernels, the arena, and the step as a C program.

import { element } from "./element.js";

export class Compiled {
  constructor(code, graph, welcome) {
    this.base = `tab/${welcome.key}`;
    this.code = code;
    this.graph = graph;
    this.ready = false;
    for (const [root, show] of [[code, () => this.showCode()], [graph, () => this.showGraph()]]) {
      root.parentElement.addEventListener("toggle", show);
    }
    this.empty("Compiling …");
  }

  empty(why) {
    this.ready = false;
    this.code.replaceChildren(element("p", { class: "quiet" }, why));
    this.graph.replaceChildren(element("p", { class: "quiet" }, why));
  }

  compiled(told) {
    if (!told.device) {
      this.empty("Dynamic execution compiles no step; switch to static.");
      return;
    }
    this.ready = true;
    this.generation = told.generation;
    this.codeOf = this.graphOf = null;
    this.showCode();
    this.showGraph();
  }

  async showCode() {
    if (!this.ready || !this.code.parentElement.open || this.codeOf === this.generation) return;
    const wanted = this.codeOf = this.generation, answer = await fetch(`${this.base}/details.json`);
    if (answer.status !== 200 || wanted !== this.generation) return;
    const { kernels, arena } = await answer.json();
    const source = element("pre", { tabindex: 0, role: "region", "aria-label": "Generated C" });
    const choice = element("select", {}, ...kernels.map(({ name, module }, i) => element("option", { value: i }, module ? `${name}, ${module}` : name)));
    const show = () => {
      const kernel = kernels[choice.value];
      source.textContent = `${kernel.statements.map((line) => `// ${line}`).join("\n")}\n\n${kernel.source || "// a call of the library; it has no code of its own"}`;
    };
    const longest = Math.max(...kernels.map(({ source: text }) => text.length));
    choice.value = kernels.findIndex(({ source: text }) => text.length === longest);
    choice.addEventListener("change", show);
    show();
    const picture = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The arena over the launches of a step" });
    picture.innerHTML = arena;
    this.code.replaceChildren(element("label", {}, element("span", {}, "Kernel "), choice), source,
      element("h3", {}, "Arena: which bytes hold what, launch by launch"), picture,
      element("p", {}, element("a", { href: `${this.base}/step.zip`, download: "" }, "Download the step as a C program"),
        ", with its weights as they are now."));
  }

  showGraph() {
    if (!this.ready || !this.graph.parentElement.open || this.graphOf === this.generation) return;
    this.graphOf = this.generation;
    const address = `${this.base}/graph.html?${this.generation}`;
    this.graph.replaceChildren(
      element("p", {}, "Boxes open with a click; the forward half runs down, the backward half up. ",
        element("a", { href: address, target: "_blank", rel: "noopener" }, "Open it alone")),
      element("iframe", { src: address, title: "The compiled graph" }));
  }
}
