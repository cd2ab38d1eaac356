// The sections of the page, filled from its documents, and the details of what is selected.

(() => {
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const data = read("document"), compared = read("compared");
  const details = byId("details"), view = byId("view");
  const tables = {};
  let graph = null, picture = null, from = null;

  // --- pieces of the details ---
  const code = (text) => h("code", {}, text);
  const facts = (...pairs) => h("dl", { class: "list" }, pairs.filter(([, value]) => value !== null && value !== "")
    .map(([term, ...value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
  const part = (title, ...content) => (content.flat().length
    ? [h("h3", {}, title), ...content.flat()] : []);
  const button = (text, act) => h("button", { type: "button", class: "link", onclick: act }, text);
  const toNode = (i, of = graph) => button(of.nodes[i].name, () => {
    if (of !== graph) turnTo(of);
    selectNode(i, "details");
  });
  const toKernel = (k) => button(`kernel ${k}`, () => selectKernel(k, "details"));
  const separated = (items) => items.flatMap((item, i) => (i ? [", ", item] : [item]));
  const space = (kernel) => `${kernel.kind} [${kernel.domain.join(",")}]`;
  const where = (lines) => lines.map((i) => data.lines[i].where).join(", ");
  const yours = (lines) => part("Your lines", lines.map((i) => h("p", { class: "line" },
    data.lines[i].where, data.lines[i].text ? h("pre", { tabindex: 0 }, data.lines[i].text) : null)));
  const timesOf = (kernel) =>
    data.profile?.parts.find((timed) => timed.launch === kernel.launch) ?? null;
  const together = (kernel) =>
    data.kernels.filter((other) => other.launch === kernel.launch).length;

  function floor(timed) {
    return [
      ["time", seconds(timed.seconds)],
      ["share of the step", percent(timed.share)],
      ["memory", `${rate(timed.bytes_per_second, "B/s")}, ${percent(timed.share_of_copy)} of a copy`],
      ["arithmetic", rate(timed.flops_per_second, "FLOP/s") + (timed.share_of_products
        ? `, ${percent(timed.share_of_products)} of a large product` : "")],
    ];
  }

  function show(title, ...content) {
    const close = h("button", { type: "button", class: "close", "aria-label": "Close the details",
      onclick: shut }, "×");
    details.replaceChildren(close, h("h2", {}, title), ...content.flat(Infinity));
    details.hidden = false;
    details.scrollTop = 0;
  }

  function shut() {
    details.hidden = true;
    if (from?.isConnected) from.focus({ preventScroll: true });
  }

  // --- selecting: `how` is "picture", "details" (the keyboard stays there) or "elsewhere" ---
  function selected(how, said) {
    if (how === "details") details.focus({ preventScroll: true });
    if (how !== "picture") byId("said").textContent = `${said}; see the details`;
  }

  function selectNode(i, how) {
    const node = graph.nodes[i];
    show(h("span", {}, `${node.name} = ${node.op}`), facts(
      ["type", code(node.type)],
      ["part", node.role + (node.output ? ", output" : "") +
        node.updates.map((name) => `, next value of ${name}`).join("")],
      ["attributes", node.attributes && code(node.attributes)],
      ["module", node.module],
      ["made by", node.made_by],
      ["kernel", node.kernel !== null ? toKernel(node.kernel)
        : node.box !== null ? ["none: read through, from what ", toKernel(node.box), " makes"] : ""],
      ["holds", node.graphs.length ? button(node.graphs.map((held) => held.title).join(", "),
        () => picture.open(i).querySelector("summary").focus()) : ""],
      ["operands", ...separated(node.operands.map((x) => toNode(x)))],
      ["users", ...separated(picture.users(i).map((x) => toNode(x)))],
    ), yours(node.lines));
    picture.choose([i], { focus: how === "picture", unfold: how !== "picture" });
    tables.nodes.choose(node);
    selected(how, `${node.name} is selected`);
  }

  function selectBox(item) {
    const { box } = item, members = box.nodes.slice(0, 60);
    if (box.kernel !== null) {
      selectKernel(box.kernel, "box");
      picture.chooseBox(item);
      return;
    }
    show(box.label, facts(
      ...Object.entries(box.counts).map(([role, n]) => [role === "input" ? "inputs and weights" : role,
        `${count(n)} node${n === 1 ? "" : "s"}${box.ops[role] ? `: ${box.ops[role]}` : ""}`]),
      ["elements of its weights", box.parameters ? count(box.parameters) : ""],
      ["nodes", ...separated(members.map((i) => toNode(i))),
        members.length < box.nodes.length ? `, and ${box.nodes.length - members.length} more` : ""],
    ), yours([...new Set(members.flatMap((i) => graph.nodes[i].lines))].slice(0, 6)));
    picture.chooseBox(item);
  }

  function source(kernel) {
    if (kernel.source !== null) {
      return part(data.device === "cuda" ? "CUDA" : "C",
        h("pre", { tabindex: 0, class: "source" }, data.sources[kernel.source]));
    }
    return part("Source", h("p", { class: "quiet" }, data.sources.length
      ? "It has nothing to compute."
      : "Node by node is how this device runs the graph: it generates no source. A device that " +
        "compiles would run this kernel."));
  }

  function selectKernel(k, how) {
    const kernel = data.kernels[k], timed = timesOf(kernel), beside = together(kernel) - 1;
    const access = (list) => list.map((x) => h("li", {}, `${x.value}: ${count(x.bytes)} bytes, `,
      x.place));
    const list = (title, list) => part(title, list.length ? [h("ul", {}, list)] : []);
    const next = (kernel.in_place).map(([value, old]) => `${value} over ${old}`).join(", ");
    show(`kernel ${k}: ${space(kernel)}`, facts(
      ["launch", String(kernel.launch) + (beside ? `, beside ${beside} other kernel${beside > 1 ? "s" : ""}` : "")],
      ["module", kernel.module],
      ["same code as", data.kernels[kernel.like] ? toKernel(Number(kernel.like))
        : kernel.like && `kernel ${kernel.like}`],
      ["bytes read and written", count(kernel.bytes)],
      ["floating-point operations", count(kernel.flops)],
      ["in place", next],
      ...(timed ? floor(timed) : []),
    ), timed && beside ? [h("p", { class: "quiet" }, "Times are those of the launch.")] : [],
    yours(kernel.lines),
    source(kernel),
    part("Makes", h("pre", { tabindex: 0 }, kernel.statements.join("\n"))),
    list("Reads", access(kernel.reads)), list("Writes", access(kernel.writes)),
    list("Why it is no larger", kernel.apart.map((apart) => h("li", {}, `${apart.user} reads `,
      `${apart.value} of `, toKernel(apart.maker), `: ${apart.reason}`))));
    if (graph === data.graphs.at(-1)) picture.choose(kernel.nodes, { focus: how === "picture" });
    tables.kernels.choose(kernel);
    selected(how, `Kernel ${k} is selected`);
  }

  function selectBlock(i) {
    const block = data.memory.blocks[i];
    show(`${block.value} in the arena`, facts(
      ["bytes", count(block.bytes)],
      ["offset", count(block.offset)],
      ["launches", `${block.first} to ${block.last}`],
      ["written over", block.over ?? ""],
      ["module", block.module],
      ["made by", block.kernel === null ? "" : toKernel(block.kernel)],
    ), yours(block.lines));
    mark("b", i);
    tables.memory.choose(block);
    selected("elsewhere", `${block.value} is selected`);
  }

  function selectPart(i) {
    const timed = data.profile.parts[i];
    const kernels = data.kernels.filter((k) => k.launch === timed.launch).map((k) => k.number);
    show(`${timed.name}: ${timed.kind}`, facts(
      ...floor(timed),
      ["module", timed.module],
      ["bytes", count(timed.bytes)], ["floating-point operations", count(timed.flops)],
      ["runs", ...separated(kernels.map(toKernel))],
      ["node", timed.node === null ? "" : toNode(timed.node, data.graphs.at(-1))],
    ));
    mark("t", i);
    tables.timeline.choose(timed);
    selected("elsewhere", `${timed.name} is selected`);
  }

  function mark(kind, i) {
    document.querySelectorAll(".b.chosen").forEach((box) => box.classList.remove("chosen"));
    byId(`${kind}${i}`)?.classList.add("chosen");
  }

  // --- blocks and bars: arrows move among them ---
  function makeChart(place, select) {
    const bars = [...place.querySelectorAll(".b")];
    if (!bars.length) return;
    let held = bars[0];
    held.tabIndex = 0;
    const index = (bar) => Number(bar.id.slice(1));
    const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
    place.addEventListener("click", (event) => {
      const bar = event.target.closest(".b");
      if (bar) select(index(bar));
    });
    place.addEventListener("focusin", (event) => {
      held.tabIndex = -1;
      held = event.target.closest(".b") ?? held;
      held.tabIndex = 0;
      if (held === event.target) select(index(held));
    });
    place.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        enter();
      } else if (steps[event.key]) {
        event.preventDefault();
        bars[bars.indexOf(held) + steps[event.key]]?.focus();
      }
    });
  }

  function enter() {
    from = document.activeElement;
    details.focus({ preventScroll: true });
  }
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && from?.isConnected) from.focus({ preventScroll: true });
    else if (event.key === "Escape") shut();
  });

  // --- sections ---
  const number = (title, of, show) => ({ title, of, number: true, show });
  const wide = (column) => ({ ...column, place: "wide" });
  const more = (column) => ({ ...column, place: "more" });
  const unbroken = (text) => text.replaceAll(" ", "\u00a0");
  const moduleOf = (rows) => (rows.some((row) => row.module)
    ? [more({ title: "module", of: (row) => row.module, show: (row) => unbroken(row.module) })] : []);
  const module = { title: "module", of: (row) => row.module || "(no module)" };

  function fillComparison() {
    const columns = compared.columns.map(({ key, label, unit, place: where }) => {
      const scale = { s: seconds, bytes }[unit] ?? ((x) => (Number.isInteger(x) ? count(x) : measured(x)));
      const one = (value) => (typeof value === "number" ? scale(value) : String(value));
      const of = (row) => row.values[key] ?? "";
      const show = (row) => (Array.isArray(of(row)) ? of(row).map(one).join(" to ") : one(of(row)));
      const title = unit && !["s", "bytes"].includes(unit) ? `${label} (${unit})` : label;
      const order = (row) => (Array.isArray(of(row)) ? of(row)[0] : of(row));
      return { title, of: order, show, place: where === "always" ? "" : where,
        number: compared.rows.some((r) => typeof of(r) !== "string") };
    });
    const rows = compared.rows.filter((row) => row.values.verdict !== "the same program");
    const same = compared.rows.filter((row) => !rows.includes(row))
      .map((row) => row.name.replace("without ", "")).join(", ");

    const name = { title: "variant", of: (row) => row.name };
    const place = h("div");
    makeTable(place, "Variants", [name, ...columns], rows);
    const pairs = Object.entries(compared.environment ?? {}).map(([k, v]) => [k, String(v)]);
    if (same) place.append(h("p", {}, `These passes change nothing here, the program is the same without: ${same}.`));
    byId("comparison-title").after(...(compared.warnings ?? []).map((text) => h("p", { class: "warning" }, text)));
    byId("comparison").append(place, ...(compared.notes ?? []).map((note) => h("p", {}, note)),
      pairs.length ? facts(...pairs) : "");
  }

  function fillKernels() {
    const timed = data.profile && data.kernels.every(timesOf) ? [
      number("time of launch", (k) => timesOf(k).seconds, (k) => seconds(timesOf(k).seconds)),
      more(number("of a copy", (k) => timesOf(k).share_of_copy, (k) => percent(timesOf(k).share_of_copy))),
      more(number("of a product", (k) => timesOf(k).share_of_products, (k) =>
        (timesOf(k).share_of_products ? percent(timesOf(k).share_of_products) : ""))),
    ] : [];
    tables.kernels = makeTable(byId("kernels"), "Kernels", [
      { title: "kernel", of: (k) => k.number,
        show: (k) => button(`kernel ${k.number}`, () => selectKernel(k.number, "elsewhere")) },
      more(number("launch", (k) => k.launch)),
      { title: "kind", of: space },
      more(number("nodes", (k) => k.nodes.length)),
      wide(number("bytes", (k) => k.bytes)),
      wide(number("FLOPs", (k) => k.flops)),
      ...timed,
      ...moduleOf(data.kernels),
      wide({ title: "from", of: (k) => where(k.lines) }),
    ], data.kernels);
  }

  // the kernels of the graphs that nodes hold, and of those in them
  const inLoops = (nodes) => nodes.flatMap((node) => node.graphs.flatMap((held) =>
    held.kernels.flatMap((k) => [k, ...inLoops(held.nodes.filter((n) => n.kernel === k.number))])));
  const partsIn = (parts) => parts.flatMap((p) => [p, ...partsIn(p.parts)]);

  function fillLoops() {
    const rows = inLoops(data.graphs.at(-1).nodes), place = h("div", { id: "loops" });
    if (!rows.length) return;
    const timed = new Map(partsIn(data.profile?.parts ?? [])
      .flatMap((p) => p.kernels.map((k) => [`${p.inside}${k}`, p])));
    const column = (title, of, show) => number(title, (k) => (timed.has(k.label)
      ? of(timed.get(k.label)) : -1), (k) => (timed.has(k.label) ? show(timed.get(k.label)) : ""));
    byId("kernels").after(h("h3", {}, "In loops and choices"), place);
    makeTable(place, "Kernels in loops and choices", [
      { title: "kernel", of: (k) => k.label },
      { title: "kind", of: space },
      wide(number("bytes, one step", (k) => k.bytes)),
      wide(number("FLOPs, one step", (k) => k.flops)),
      ...(data.profile ? [
        column("time of launch, all steps", (p) => p.seconds, (p) => seconds(p.seconds)),
        wide(column("of the step", (p) => p.share, (p) => percent(p.share))),
        more(column("of a copy", (p) => p.share_of_copy, (p) => percent(p.share_of_copy))),
      ] : []),
      ...moduleOf(rows),
      wide({ title: "from", of: (k) => where(k.lines) }),
    ], rows);
  }

  function fillModules() {
    const place = h("div", { id: "modules" });
    byId("kernels").after(place);
    makeTable(place, "Kernels by module", [
      module,
      wide(number("kernels", (m) => m.kernels)),
      number("bytes", (m) => m.bytes),
      number("FLOPs", (m) => m.flops),
    ], data.modules);
  }

  function fillMemory() {
    const memory = data.memory, place = h("div"), at = memory.fullest;
    const names = ["feeds", "state", "constants", "outputs", "arena", "peak"];
    byId("memory").append(facts(...names.map((name) => [name, `${count(memory[name])} bytes`])),
      at === null ? "" : h("p", {}, `The arena is fullest at launch ${at}: ` +
        `${count(memory.live[at])} bytes.`), place);
    byId("memory").querySelector("dl").className = "facts";
    const index = new Map(memory.blocks.map((block, i) => [block, i]));
    const held = (b) => b.first <= at && at <= b.last;
    const owners = [...memory.blocks].sort((a, b) => held(b) - held(a) || b.bytes - a.bytes);
    tables.memory = makeTable(place, "Blocks of the arena", [
      { title: "value", of: (b) => b.value,
        show: (b) => button(b.value, () => selectBlock(index.get(b))) },
      number("bytes", (b) => b.bytes),
      more(number("offset", (b) => b.offset)),
      wide(number("first launch", (b) => b.first)),
      wide(number("last launch", (b) => b.last)),
      wide({ title: "at the fullest", of: (b) => (held(b) ? "held" : "") }),
      more({ title: "written over", of: (b) => b.over ?? "" }),
      ...moduleOf(owners),
      wide({ title: "from", of: (b) => where(b.lines) }),
    ], owners);
  }

  function fillTimeline() {
    const profile = data.profile, place = h("div"), grouped = h("div");
    const [size, copy] = profile.copy_rates.at(-1);
    const reached = Object.entries(profile.product_rates)
      .map(([dtype, flops]) => `, ${dtype} products ${rate(flops, "FLOP/s")}`);
    byId("timeline").append(h("p", {}, `The filled part of a bar is its share of the floor. Median `,
      `of ${profile.runs} runs on ${profile.device} after ${profile.warm_up}; reading the clock, `,
      `${seconds(profile.timer)}, is taken off. This machine copies ${rate(copy, "B/s")} `,
      `(${bytes(size)})${reached.join("")}.`), place, grouped);
    const index = new Map(profile.parts.map((timed, i) => [timed, i]));
    tables.timeline = makeTable(place, "Parts of a step", [
      { title: "part", of: (p) => p.name,
        show: (p) => button(p.name, () => selectPart(index.get(p))) },
      more({ title: "kernels", of: (p) => [p.kernels[0], ...p.kernels.slice(1).slice(-1)].join(" to ") }),
      wide({ title: "kind", of: (p) => p.kind }),
      number("time", (p) => p.seconds, (p) => seconds(p.seconds)),
      number("of the step", (p) => p.share, (p) => percent(p.share)),
      more(number("bytes/s", (p) => p.bytes_per_second, (p) => rate(p.bytes_per_second, "B/s"))),
      wide(number("of a copy", (p) => p.share_of_copy, (p) => percent(p.share_of_copy))),
      more(number("FLOP/s", (p) => p.flops_per_second, (p) => rate(p.flops_per_second, "FLOP/s"))),
      wide(number("of a product", (p) => p.share_of_products, (p) =>
        (p.share_of_products ? percent(p.share_of_products) : ""))),
      ...moduleOf(profile.parts),
    ], profile.parts);
    if (profile.modules.length) {
      makeTable(grouped, "Time by module", [
        module,
        number("time", (m) => m.seconds, (m) => seconds(m.seconds)),
        number("of the step", (m) => m.share, (m) => percent(m.share)),
        wide(number("bytes", (m) => m.bytes)),
        wide(number("FLOPs", (m) => m.flops)),
      ], profile.modules);
    }
  }

  function fillPasses() {
    const idle = (p) => p.before === p.after && !Object.keys(p.notes).length;
    const rest = data.passes.filter(idle), place = h("div");
    makeTable(place, "Passes", [
      { title: "pass", of: (p) => p.name },
      wide(number("nodes before", (p) => p.before)),
      number("after", (p) => p.after),
      number("time", (p) => p.seconds, (p) => seconds(p.seconds)),
      wide({ title: "what it did",
        of: (p) => Object.entries(p.notes).map(([what, n]) => `${what} ×${n}`).join(", ") }),
    ], data.passes.filter((p) => !idle(p)));
    const total = rest.reduce((sum, p) => sum + p.seconds, 0);
    byId("passes").append(place, rest.length ? h("p", { class: "quiet" },
      `Nothing to do, in ${seconds(total)}: ${rest.map((p) => p.name).join(", ")}.`) : "");
  }

  // a graph and one of its views for each radio button
  const choices = (data?.graphs ?? []).flatMap((of) => of.views.map((shown) => [of, shown]));

  function turnTo(shown) {
    const i = choices.findIndex(([of]) => of === shown);
    document.querySelector(`input[name=graph][value="${i}"]`).checked = true;
    showGraph(...choices[i]);
  }

  function showGraph(of, shown) {
    if (graph) byId(`held-${graph.title}`).hidden = true;
    byId(`held-${of.title}`).hidden = false;
    const turned = graph !== of;
    graph = of;
    picture.show(graph, shown);
    if (turned) fillNodes();
  }

  function fillNodes() {
    for (const item of document.querySelectorAll(".legend [data-role]")) {
      const nodes = graph.nodes.filter((node) => node.role === item.dataset.role);
      item.textContent = count(nodes.length);
    }
    const numbers = new Map(graph.nodes.map((node, i) => [node, i]));
    const names = (list) => list.map((i) => graph.nodes[i].name).join(" ");
    tables.nodes = makeTable(byId("nodes"), "Nodes", [
      { title: "name", of: (n) => n.name,
        show: (n) => button(n.name, () => selectNode(numbers.get(n), "elsewhere")) },
      { title: "op", of: (n) => n.op },
      { title: "type", of: (n) => n.type },
      wide({ title: "part", of: (n) => n.role }),
      ...(graph.nodes.some((n) => n.kernel !== null)
        ? [wide(number("kernel", (n) => n.kernel ?? ""))] : []),
      more({ title: "attributes", of: (n) => n.attributes }),
      wide({ title: "operands", of: (n) => names(n.operands) }),
      ...moduleOf(graph.nodes),
      wide({ title: "from", of: (n) => (n.made_by ? `${n.made_by} of ` : "") + where(n.lines) }),
    ], graph.nodes);
    byId("text").replaceChildren(h("details", {}, h("summary", {}, "The graph as text"),
      h("pre", { tabindex: 0 }, graph.text)));
  }

  if (compared) fillComparison();
  if (!data) return;
  picture = makePicture(view, {
    node: (i) => selectNode(i, "picture"), box: selectBox, enter,
  });
  if (data.totals) {
    fillKernels();
    if (data.modules.length) fillModules();
    fillLoops();
    fillMemory();
    fillPasses();
    makeChart(byId("memory").parentNode.querySelector(".scroll") ?? h("div"), selectBlock);
  }
  if (data.profile) {
    fillTimeline();
    makeChart(byId("timeline").parentNode.querySelector(".scroll") ?? h("div"), selectPart);
  }
  showGraph(...choices.find(([of]) => of === data.graphs.at(-1)));
  for (const choice of document.querySelectorAll("input[name=graph]")) {
    choice.addEventListener("change", () => {
      details.hidden = true;
      showGraph(...choices[Number(choice.value)]);
    });
  }
})();
