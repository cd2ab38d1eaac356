// The picture of a graph: boxes that open, what is chosen, the keyboard, searching and zooming.

const LEGIBLE = 0.8, PHONE = 600; // of the zoom; pixels of width

// on.node(i), on.box(item): something was chosen in the picture; on.enter(): its details are wanted
function makePicture(view, on) {
  const made = new Map(); // the items of each view, which remember what is open
  let items = null, laid = null, picture = null, zoom = 1, current = null, users = null;
  let turn = 0, fitted = true, found = [], at = -1;
  const small = document.getElementById("map"), search = document.getElementById("find");
  const told = document.getElementById("found");

  const draw = (tag, attributes, ...children) => {
    const element = document.createElementNS(small.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const groupOf = (id) => view.querySelector(`[data-id="${id}"]`);
  const itemAt = (element) => items.all.get(element.dataset.id);

  async function show(graph, shown) {
    users = graph.nodes.map(() => []);
    graph.nodes.forEach((node, i) => new Set(node.operands).forEach((x) => users[x].push(i)));
    if (!made.has(shown)) made.set(shown, makeItems(graph, shown));
    items = made.get(shown);
    found = [];
    await redraw();
    begin();
  }

  // all of it, but on a phone only if it can be read
  function begin() {
    fit();
    if (view.clientWidth <= PHONE) legible();
  }

  // what could not be read when all of it is seen: its beginning, beside the map
  function legible() {
    if (zoom >= LEGIBLE) return;
    setZoom(LEGIBLE, 0, 0);
    view.scrollTo(0, 0);
    settle();
    if (current) reveal(current);
  }

  // a picture that is less high than there is room for has no empty ground below it
  function settle() {
    view.style.height = "";
    view.style.height = `${Math.min(view.offsetHeight, Math.ceil(laid.height * zoom) + 20)}px`;
    seen();
  }

  async function redraw(focus = null) {
    const mine = ++turn, result = await layOut(items);
    if (mine !== turn) return;
    laid = result;
    const boxes = laid.boxes.map(drawBox), lines = laid.edges.map(drawEdge);
    const open = boxes.filter((_, i) => !laid.boxes[i].cells);
    const closed = boxes.filter((_, i) => laid.boxes[i].cells);
    picture = draw("svg", { class: "staticnet", role: "group", viewBox: `0 0 ${laid.width} ${laid.height}`,
      "aria-label": "Data flow: inputs above, the loss below, the backward half beside" },
    ...open, ...lines, ...closed);
    view.replaceChildren(picture);
    current = null;
    const kept = focus && groupOf(focus.id);
    hold(kept || closed[0] || null);
    if (kept) kept.focus({ preventScroll: true });
    drawMap();
    setZoom(fitted ? Math.max(fitting(), Math.min(zoom, 1), 0.6) : zoom);
    settle();
    if (kept) reveal(kept);
    mark();
  }

  // --- drawing ---
  function drawBox(box) {
    const { item, x, y, width, height, cells } = box;
    const name = nameOf(box);
    const kinds = ["item", item.box ? "box" : "n", cells ? "closed" : "open"];
    const node = item.box ? null : items.graph.nodes[item.node];
    if (node && (node.output || node.updates.length)) kinds.push("root");
    if (node?.graphs.length) kinds.push("holds");
    const inner = cells ? drawCells(box) : [
      draw("rect", { width, height }),
      draw("text", { x: box.title.x - x, y: 16, class: "title" }, box.title.text)];
    return draw("g", { class: kinds.join(" "), "data-id": item.id, role: "button", tabindex: -1,
      "aria-label": name, "aria-expanded": item.box ? String(!cells) : null,
      transform: `translate(${x} ${y})` }, draw("title", {}, name), ...inner);
  }

  // what is read out begins with what is seen
  function nameOf({ item, cells, title }) {
    const seen = cells ? cells.map(({ head, text }) => `${head} ${text}`.trim()).join(" ") : title.text;
    if (item.box) {
      const full = seen.includes(item.box.label) ? "" : `, ${item.box.label}`;
      return `${seen}${full}, ${item.box.nodes.length} nodes`;
    }
    const node = items.graph.nodes[item.node];
    return `${seen}: ${node.name} = ${node.op}, ${node.type}, ${node.role}`;
  }

  function drawCells({ item, width, height, cells }) {
    let left = 0;
    return [draw("rect", { class: "hit", width, height }), ...cells.map((cell, i) => {
      const wide = i === cells.length - 1 ? width - left : cell.width;
      const text = draw("text", { x: 9, y: 17 }, draw("tspan", { class: "head" }, cell.head));
      if (cell.text) text.append(" ", draw("tspan", { class: "ops", dx: 3 }, cell.text));
      if (i + 1 < cells.length) text.append(" ");
      const group = draw("g", { class: `cell ${cell.role}`, transform: `translate(${left} 0)` },
        draw("rect", { width: wide, height }), text);
      if (item.box) group.prepend(draw("rect", { class: "under", x: 3, y: 3, width: wide, height }));
      left += cell.width + GAP;
      return group;
    })];
  }

  function drawEdge({ edge, points }) {
    if (points.length < 2) return draw("g", {});
    const kept = edge.a === "forward" && edge.b === "backward";
    const kind = kept ? "kept" : edge.from.apart ? "update" : edge.b;
    const way = points.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("");
    const [[px, py], [x, y]] = points.slice(-2);
    const dx = Math.sign(x - px), dy = Math.sign(y - py);
    const head = `M${x} ${y}L${x - 6 * dx - 3 * dy} ${y - 6 * dy - 3 * dx}` +
      `L${x - 6 * dx + 3 * dy} ${y - 6 * dy + 3 * dx}Z`;
    return draw("g", { class: `e ${kind}`, "data-from": edge.from.id, "data-to": edge.to.id },
      draw("path", { class: "way", d: way }), draw("path", { class: "head", d: head }));
  }

  function drawMap() {
    small.setAttribute("viewBox", `0 0 ${laid.width} ${laid.height}`);
    const scale = Math.min(150 / laid.width, 110 / laid.height);
    small.setAttribute("width", laid.width * scale);
    small.setAttribute("height", laid.height * scale);
    small.replaceChildren(...laid.boxes.map(({ x, y, width, height, cells }) =>
      draw("rect", { x, y, width, height, class: cells?.at(-1).role ?? "open" })),
    draw("rect", { class: "seen" }));
    seen();
  }

  function seen() {
    const part = small.querySelector(".seen");
    if (!part || !laid) return;
    const far = view.scrollWidth > view.clientWidth + 1 || view.scrollHeight > view.clientHeight + 1;
    small.toggleAttribute("hidden", !far);
    const dx = Math.max(0, view.clientWidth - laid.width * zoom) / 2;
    part.setAttribute("x", (view.scrollLeft - dx) / zoom);
    part.setAttribute("y", view.scrollTop / zoom);
    part.setAttribute("width", view.clientWidth / zoom);
    part.setAttribute("height", view.clientHeight / zoom);
  }

  // --- choosing ---
  let marked = [];
  function hold(group) {
    if (current) current.tabIndex = -1;
    current = group;
    if (group) group.tabIndex = 0;
  }

  function mark(ids = marked) {
    marked = ids;
    for (const each of picture.querySelectorAll(".chosen, .near")) each.classList.remove("chosen", "near");
    for (const id of ids) groupOf(id)?.classList.add("chosen");
    for (const line of picture.querySelectorAll(".e")) {
      if (ids.includes(line.dataset.from) || ids.includes(line.dataset.to)) line.classList.add("near");
    }
  }

  // marks what stands for nodes; with `unfold` their boxes are opened first
  async function choose(nodes, { focus = false, unfold = false } = {}) {
    const chains = nodes.map((node) => items.itemOf.get(node)).filter(Boolean);
    if (unfold) {
      const shut = chains.flat().filter((item) => item.box && !items.open.has(item.id));
      shut.forEach((item) => items.open.add(item.id));
      if (shut.length) await redraw();
    }
    const shown = [...new Set(nodes.map((node) => shownItem(items, node)).filter(Boolean))];
    mark(shown.map((item) => item.id));
    const first = shown.length ? groupOf(shown[0].id) : null;
    if (!first) return;
    hold(first);
    reveal(first);
    if (focus) first.focus({ preventScroll: true });
  }

  function chooseBox(item) {
    mark([item.id]);
    const group = groupOf(item.id);
    if (group) hold(group);
  }

  function reveal(group) {
    const outer = view.getBoundingClientRect(), inner = group.getBoundingClientRect();
    const shift = (low, high, least, most) =>
      (low >= least && high <= most ? 0
        : high - low > most - least ? low - least - 8 : (low + high - least - most) / 2);
    view.scrollLeft += shift(inner.left, inner.right, outer.left, outer.right);
    view.scrollTop += shift(inner.top, inner.bottom, outer.top, outer.bottom);
  }

  function tell(item) {
    if (item.node !== null) on.node(item.node);
    else on.box(item);
  }

  async function toggle(item) {
    if (items.open.has(item.id)) items.open.delete(item.id);
    else items.open.add(item.id);
    tell(item);
    await redraw(item);
  }

  async function every(open) {
    let boxes = [...items.all.values()].filter((item) => item.box);
    if (open) boxes = boxes.filter((item) => item.parent === null || items.open.has(item.parent.id));
    boxes.forEach((item) => (open ? items.open.add(item.id) : items.open.delete(item.id)));
    await redraw();
    fit();
    if (!open || zoom >= LEGIBLE) return;
    legible();
    fitted = false;
  }

  // the graphs that a node holds; -> the element that shows them
  function open(i) {
    const held = document.getElementById(`${items.graph.title}-g${i}`);
    if (!held) return null;
    held.open = true;
    held.scrollIntoView({ block: "nearest" });
    return held;
  }

  // while the button is down nothing may move below it, or its click is lost
  let pressed = false;
  view.addEventListener("pointerdown", () => { pressed = true; }, { capture: true });
  window.addEventListener("pointerup", () => { pressed = false; });
  view.addEventListener("click", (event) => {
    const group = event.target.closest(".item");
    if (!group) return;
    const item = itemAt(group);
    group.focus({ preventScroll: true });
    if (item.box) toggle(item);
    else {
      tell(item);
      open(item.node);
    }
  });
  view.addEventListener("focusin", (event) => {
    const group = event.target.closest(".item");
    if (!group || pressed || (group === current && marked.includes(group.dataset.id))) return;
    hold(group);
    tell(itemAt(group));
  });

  // --- moving with the keyboard: to what is nearest in a direction ---
  const ways = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  function beside(item, [dx, dy]) {
    const middle = (box) => [box.x + box.width / 2, box.y + (box.cells ? box.height / 2 : TITLE / 2)];
    const here = laid.boxes.find((box) => box.item === item), [x, y] = middle(here);
    let best = null, least = Infinity;
    for (const box of laid.boxes) {
      const [bx, by] = middle(box), along = (bx - x) * dx + (by - y) * dy;
      const across = Math.abs((bx - x) * dy) + Math.abs((by - y) * dx), far = along + 2 * across;
      if (along > 1 && far < least) [best, least] = [box, far];
    }
    return best && groupOf(best.item.id);
  }
  view.addEventListener("keydown", (event) => {
    const group = event.target.closest(".item");
    if (!group || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = itemAt(group);
    const keys = {
      Enter: () => (item.box ? toggle(item) : (tell(item), on.enter())),
      " ": () => (item.box ? toggle(item) : (tell(item), on.enter())),
      Escape: () => {
        const box = item.box && items.open.has(item.id) ? item : item.parent;
        if (box) toggle(box);
      },
      d: () => { tell(item); on.enter(); },
    };
    const act = ways[event.key] ? () => beside(item, ways[event.key])?.focus({ preventScroll: true })
      : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    if (ways[event.key] && document.activeElement.closest(".item")) reveal(document.activeElement);
  });

  // --- searching: Enter goes from one to the next ---
  function matches() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    return items.graph.nodes.flatMap((node, i) => {
      const text = `${node.name} ${node.op} ${node.type} ${node.role} ${node.module}`.toLowerCase();
      return items.itemOf.has(i) && words.every((word) => text.includes(word)) ? [i] : [];
    });
  }
  search.addEventListener("input", () => {
    found = matches();
    at = -1;
    told.textContent = search.value ? `${found.length} found` : "";
    mark([...new Set(found.map((i) => shownItem(items, i).id))]);
  });
  search.addEventListener("keydown", async (event) => {
    if (event.key !== "Enter" || !found.length) return;
    event.preventDefault();
    at = (at + (event.shiftKey ? found.length - 1 : 1)) % found.length;
    told.textContent = `${at + 1} of ${found.length}`;
    await choose([found[at]], { unfold: true });
    on.node(found[at]);
  });

  // --- zooming and dragging ---
  function setZoom(value, x = view.clientWidth / 2, y = view.clientHeight / 2) {
    const wanted = Math.min(4, Math.max(0.02, value)), ratio = wanted / zoom;
    const left = (view.scrollLeft + x) * ratio - x, top = (view.scrollTop + y) * ratio - y;
    zoom = wanted;
    picture.setAttribute("width", laid.width * zoom);
    picture.setAttribute("height", laid.height * zoom);
    view.scrollTo(left, top);
    seen();
  }
  function fitting() {
    view.style.height = "";
    return Math.min((view.clientWidth - 4) / laid.width, (view.clientHeight - 4) / laid.height, 1.5);
  }
  function fit() {
    setZoom(fitting(), 0, 0);
    settle();
    fitted = true;
  }
  function scale(by) {
    setZoom(zoom * by);
    settle();
    fitted = false;
  }
  new ResizeObserver(() => { if (laid && fitted) begin(); }).observe(view);
  const zooms = { "+": () => scale(1.25), "=": () => scale(1.25), "-": () => scale(0.8), 0: fit };
  const press = (id, act) => document.getElementById(id).addEventListener("click", act);
  press("in", zooms["+"]);
  press("out", zooms["-"]);
  press("fit", fit);
  press("fold", () => every(false));
  press("unfold", () => every(true));
  view.addEventListener("keydown", (event) => {
    if (!zooms[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    zooms[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = view.getBoundingClientRect();
    setZoom(zoom * Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
    settle();
    fitted = false;
  }, { passive: false });
  view.addEventListener("scroll", seen);
  small.addEventListener("pointerdown", (event) => {
    const box = small.getBoundingClientRect();
    view.scrollTo((event.clientX - box.left) / box.width * laid.width * zoom - view.clientWidth / 2,
      (event.clientY - box.top) / box.height * laid.height * zoom - view.clientHeight / 2);
  });

  let drag = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType !== "mouse" || event.target.closest(".item")) return;
    drag = { x: event.clientX + view.scrollLeft, y: event.clientY + view.scrollTop };
    view.classList.add("dragging");
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    if (drag) view.scrollTo(drag.x - event.clientX, drag.y - event.clientY);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, () => { drag = null; view.classList.remove("dragging"); });
  }

  return { show, choose, chooseBox, open, users: (i) => users[i] };
}
