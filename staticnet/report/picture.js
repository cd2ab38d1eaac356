// The picture of a graph: what is chosen, moving with the keyboard, zooming and dragging.

// on.node(i), on.kernel(k): something was chosen in the picture; on.enter(): its details are wanted
function makePicture(view, on) {
  const size = {}, drawn = {};
  let picture = null, graph = null, users = null, zoom = 1, current = null, marked = null;

  const item = (kind, i) => document.getElementById(`${graph.title}-${kind}${i}`);
  const corner = (box) => box.transform.baseVal[0].matrix;
  const numberOf = (box) => Number(/\d+$/.exec(box.id)[0]);
  const isKernel = (box) => box.classList.contains("k");

  // a picture that is not shown is kept as text, which costs the page nothing until it is
  function parse(text) {
    const holder = document.createElement("div");
    holder.innerHTML = text;
    return holder.firstElementChild;
  }

  function show(shown) {
    if (graph) document.getElementById(`held-${graph.title}`).hidden = true;
    graph = shown;
    document.getElementById(`held-${graph.title}`).hidden = false;
    const kept = document.getElementById(`picture-${graph.title}`);
    drawn[graph.title] ??= kept ? parse(kept.textContent) : view.querySelector("svg");
    picture = drawn[graph.title];
    if (!view.contains(picture)) view.replaceChildren(picture);
    users = graph.nodes.map(() => []);
    graph.nodes.forEach((node, i) => new Set(node.operands).forEach((x) => users[x].push(i)));
    size.width = picture.viewBox.baseVal.width;
    size.height = picture.viewBox.baseVal.height;
    current = marked = null;
    const first = picture.querySelector(".top");
    if (first) hold(first);
    clear();
    if (zoom !== 1) setZoom(1);
    if (first) view.scrollTo(corner(first).e + 88 - view.clientWidth / 2, 0);
  }

  // --- choosing ---
  function hold(box) {
    if (current) current.tabIndex = -1;
    current = box;
    box.tabIndex = 0;
  }

  function choose(kind, i, focus) {
    const box = item(kind, i);
    if (marked) marked.classList.remove("chosen");
    marked = box;
    if (!box) return;
    hold(box);
    box.classList.add("chosen");
    const near = picture.querySelector(".near");
    near.setAttribute("d", kind === "n" ? nearby(i) : "");
    reveal(box);
    if (focus) box.focus({ preventScroll: true });
  }

  function clear() {
    picture.querySelector(".chosen")?.classList.remove("chosen");
    marked = null;
    picture.querySelector(".near").setAttribute("d", "");
  }

  function nearby(i) {
    const curve = (from, to) => {
      const a = corner(item("n", from)), b = corner(item("n", to));
      const rect = item("n", from).querySelector("rect");
      const w = rect.width.baseVal.value / 2, high = rect.height.baseVal.value;
      const bend = Math.min(Math.abs(b.f - a.f - high) / 2, 60);
      return `M${a.e + w} ${a.f + high}C${a.e + w} ${a.f + high + bend} ` +
        `${b.e + w} ${b.f - bend} ${b.e + w} ${b.f}`;
    };
    const operands = [...new Set(graph.nodes[i].operands)];
    return [...operands.map((x) => curve(x, i)), ...users[i].map((x) => curve(i, x))].join("");
  }

  function reveal(box) {
    const outer = view.getBoundingClientRect(), inner = box.getBoundingClientRect();
    const shift = (low, high, least, most) =>
      low >= least && high <= most ? 0
        : high - low > most - least ? low - least - 8 : (low + high - least - most) / 2;
    view.scrollLeft += shift(inner.left, inner.right, outer.left, outer.right);
    view.scrollTop += shift(inner.top, inner.bottom, outer.top, outer.bottom);
  }

  // the graphs that a node holds; -> the element that shows them
  function open(i) {
    const held = document.getElementById(`${graph.title}-g${i}`);
    if (!held) return null;
    held.open = true;
    held.scrollIntoView({ block: "nearest" });
    return held;
  }

  function tell(box) {
    if (isKernel(box)) on.kernel(numberOf(box));
    else on.node(numberOf(box));
  }

  view.addEventListener("click", (event) => {
    const box = event.target.closest(".n, .k");
    if (!box) return;
    box.focus({ preventScroll: true });
    tell(box);
    if (!isKernel(box)) open(numberOf(box));
  });
  view.addEventListener("focusin", (event) => {
    const box = event.target.closest(".n, .k");
    if (box && box !== marked) tell(box);
  });

  // --- moving with the keyboard ---
  function beside(box, step) {
    const here = corner(box).f;
    const layer = [...picture.querySelectorAll(".n")]
      .filter((other) => corner(other).f === here)
      .sort((a, b) => corner(a).e - corner(b).e);
    return layer[layer.indexOf(box) + step];
  }
  const next = (kind, i) => (i === undefined || i === null ? null : item(kind, i));
  const ofNode = {
    ArrowUp: (box, i) => next("n", graph.nodes[i].operands[0]),
    ArrowDown: (box, i) => next("n", users[i][0]),
    ArrowLeft: (box) => beside(box, -1),
    ArrowRight: (box) => beside(box, 1),
    k: (box, i) => next("k", graph.nodes[i].kernel),
  };
  const ofKernel = {
    ArrowUp: (box, k) => item("k", k - 1),
    ArrowLeft: (box, k) => item("k", k - 1),
    ArrowDown: (box, k) => item("k", k + 1),
    ArrowRight: (box, k) => item("k", k + 1),
    k: (box, k) => item("n", graph.nodes.findIndex((node) => node.kernel === k)),
  };
  view.addEventListener("keydown", (event) => {
    const box = event.target.closest(".n, .k");
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      tell(box);
      on.enter();
      return;
    }
    const move = (isKernel(box) ? ofKernel : ofNode)[event.key.replace("K", "k")];
    if (!move) return;
    event.preventDefault();
    const found = move(box, numberOf(box));
    if (found) found.focus({ preventScroll: true });
  });

  // --- zooming and dragging ---
  function setZoom(value, x = view.clientWidth / 2, y = view.clientHeight / 2) {
    const wanted = Math.min(4, Math.max(0.02, value)), ratio = wanted / zoom;
    const left = (view.scrollLeft + x) * ratio - x, top = (view.scrollTop + y) * ratio - y;
    zoom = wanted;
    picture.setAttribute("width", size.width * zoom);
    picture.setAttribute("height", size.height * zoom);
    view.scrollTo(left, top);
  }
  const fitting = () =>
    Math.min(view.clientWidth / size.width, view.clientHeight / size.height, 1);
  const keys = {
    "+": () => setZoom(zoom * 1.25), "=": () => setZoom(zoom * 1.25),
    "-": () => setZoom(zoom / 1.25), 0: () => setZoom(fitting()),
  };
  const press = (id, act) => document.getElementById(id).addEventListener("click", act);
  press("in", keys["+"]);
  press("out", keys["-"]);
  press("fit", keys[0]);
  press("full", () => setZoom(1));
  view.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = view.getBoundingClientRect();
    setZoom(zoom * Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  let drag = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType !== "mouse" || event.target.closest(".n, .k")) return;
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

  return { show, choose, open, users: (i) => users[i] };
}
