// Where what is open of a graph's boxes stands, and how its edges run: elkjs does both.
//
// A layer is a row: its forward half, and its backward half beside it. Edges of the backward half
// are given to the layout the other way round, so that it runs upwards, mirrored.

const CELL = 26, GAP = 46, BETWEEN = 16, TITLE = 24, CHAR = 6.65, HEAD = 26, CHARS = 36;
const OPTIONS = {
  "elk.algorithm": "layered", "elk.direction": "DOWN", "elk.edgeRouting": "ORTHOGONAL",
  "elk.hierarchyHandling": "INCLUDE_CHILDREN", "elk.json.edgeCoords": "ROOT",
  "elk.json.shapeCoords": "ROOT", "elk.padding": "[top=4,left=4,bottom=4,right=4]",
  "elk.spacing.nodeNode": 18, "elk.spacing.edgeNode": 12, "elk.spacing.edgeEdge": 8,
  "elk.layered.spacing.nodeNodeBetweenLayers": BETWEEN,
  "elk.layered.spacing.edgeNodeBetweenLayers": 8, "elk.layered.spacing.edgeEdgeBetweenLayers": 6,
  "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
  "elk.layered.nodePlacement.bk.fixedAlignment": "BALANCED", "elk.layered.thoroughness": 4,
};
const OPEN = { "elk.padding": `[top=${TITLE + 8},left=12,bottom=12,right=12]` };

// Items with names, parents and the nodes in them: `main` and `apart` of a view, made once.
function makeItems(graph, view) {
  const itemOf = new Map(); // the chain of items that hold a node, the outermost first
  const all = new Map();
  function made(item, id, chain, apart) {
    const isNode = typeof item === "number";
    const found = { id: isNode ? `n${item}` : id, apart, parent: chain.at(-1) ?? null,
      node: isNode ? item : null, box: isNode ? null : item, order: all.size };
    const inner = [...chain, found];
    all.set(found.id, found);
    if (isNode) itemOf.set(item, inner);
    found.items = isNode ? [] : item.items.map((each, i) => made(each, `${id}.${i}`, inner, apart));
    return found;
  }
  const main = view.main.map((item, i) => made(item, `b${i}`, [], false));
  const apart = view.apart.map((item, i) => made(item, `u${i}`, [], true));
  const open = new Set([...all.values()].filter((item) => item.box?.open).map((item) => item.id));
  return { graph, view, main, apart, all, itemOf, open };
}

// the item that stands for a node in the picture: the outermost that is closed; null if folded
function shownItem(items, node) {
  const chain = items.itemOf.get(node);
  return chain?.find((item) => !items.open.has(item.id)) ?? null;
}

const cut = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);
// kernels run one after the other, downwards: in their view there are no halves
const halfOf = (items, node) =>
  (node.role === "backward" && items.view.title === "layers" ? "backward" : "forward");

// The texts of an item: one cell for a node, two for a layer that runs forward and backward.
function cellsOf(graph, item) {
  if (item.node !== null) {
    const node = graph.nodes[item.node];
    return [{ role: node.role, head: cut(node.label, HEAD), text: "" }];
  }
  const { label, ops, counts } = item.box, main = Object.keys(counts);
  const cell = (role, head, text = ops[role] ?? "") =>
    ({ role, head: cut(head, HEAD), text: head.length > HEAD ? "" : cut(text, CHARS - head.length) });
  if (item.box.kernel !== null) {
    const most = main.reduce((a, b) => (counts[b] > counts[a] ? b : a));
    return [cell(most, label, Object.values(ops).join(", "))];
  }
  if (!main.includes("backward")) {
    const role = ["update", "forward", "input"].find((each) => main.includes(each));
    return [cell(role, label)];
  }
  const forward = main.some((role) => role !== "backward");
  return [...(forward ? [cell("forward", label)] : []), cell("backward", `∂ ${label}`)];
}

const cellWidth = ({ head, text }) =>
  Math.max(44, Math.ceil((head.length + (text ? text.length + 1.5 : 0)) * CHAR) + 18);

// The edges between what is shown, each once: {from, to, ends: which half, kind}
function edgesOf(items) {
  const found = new Map(), pairs = new Set();
  const { nodes } = items.graph;
  const edges = [];
  nodes.forEach((node, i) => {
    const to = shownItem(items, i);
    if (!to) return;
    for (const operand of new Set(node.operands)) {
      const from = shownItem(items, operand);
      if (!from || from.apart !== to.apart) continue;
      const a = halfOf(items, nodes[operand]), b = halfOf(items, node);
      if (from === to && a === b) continue;
      const key = `${from.id} ${a} ${to.id} ${b}`;
      if (!found.has(key)) found.set(key, edges.push({ key, from, to, a, b }) - 1);
      if (a === "forward" && b === "forward") pairs.add(`${from.id} ${to.id}`);
    }
  });
  return joined(edges, pairs);
}

// What goes into a layer and is kept for its backward half is drawn once, on its way in.
function joined(edges, pairs) {
  const made = new Map();
  for (const edge of edges) {
    const kept = edge.a === "forward" && edge.b === "backward";
    const along = kept && edge.from !== edge.to && pairs.has(`${edge.from.id} ${edge.to.id}`);
    const drawn = along ? { ...edge, from: edge.to } : edge;
    made.set(`${drawn.from.id} ${drawn.a} ${drawn.to.id} ${drawn.b}`, drawn);
  }
  return [...made.values()];
}

// Ports of a layer with two halves: where edges come in and go out, f, b and kept between them.
function portsOf(item, widths) {
  const [w, v] = widths, middle = w + GAP / 2, right = w + GAP + v / 2;
  const port = (name, side, x) => ({ id: `${item.id}:${name}`, x, y: side === "NORTH" ? 0 : CELL,
    width: 0, height: 0, layoutOptions: { "elk.port.side": side } });
  return [port("fin", "NORTH", w / 2), port("kin", "NORTH", middle), port("bout", "NORTH", right),
    port("fout", "SOUTH", w / 2), port("kout", "SOUTH", middle), port("bin", "SOUTH", right)];
}

// rows of one box are of one width: their halves stand below each other
function forLayout(items, list, cells) {
  const closed = list.filter((item) => !items.open.has(item.id));
  const texts = new Map(closed.map((item) => [item, cellsOf(items.graph, item)]));
  const alike = Math.max(0, ...[...texts.values()].filter((drawn) => drawn.length === 2).flat().map(cellWidth));
  return list.map((item) => {
    if (items.open.has(item.id)) {
      return { id: item.id, layoutOptions: OPEN, children: forLayout(items, item.items, cells) };
    }
    const drawn = texts.get(item), widths = drawn.map((cell) => (drawn.length === 2 ? alike : cellWidth(cell)));
    cells.set(item.id, drawn.map((cell, i) => ({ ...cell, width: widths[i] })));
    const made = { id: item.id, height: CELL, width: widths.reduce((a, b) => a + b) };
    const placeholder = item.node !== null && !item.parent && items.graph.nodes[item.node].op === "placeholder";
    if (placeholder) made.layoutOptions = { "elk.layered.layering.layerConstraint": "FIRST" };
    if (drawn.length === 1) return made;
    return { ...made, width: made.width + GAP, ports: portsOf(item, widths),
      layoutOptions: { "elk.portConstraints": "FIXED_POS" } };
  });
}

// An edge as the layout is to see it, downwards; null for one inside of a layer's row.
function routed(edge, cells) {
  const { from, to, a, b } = edge;
  if (from === to) return null;
  const paired = (item) => cells.get(item.id).length === 2;
  const leaves = { forward: b === "backward" ? "kout" : "fout", backward: "bout" }[a];
  const enters = { backward: a === "forward" ? "kin" : "bin", forward: "fin" }[b];
  const source = paired(from) ? `${from.id}:${leaves}` : from.id;
  const target = paired(to) ? `${to.id}:${enters}` : to.id;
  return a === "backward" && b === "backward"
    ? { id: edge.key, sources: [target], targets: [source] }
    : { id: edge.key, sources: [source], targets: [target] };
}

// -> {width, height, boxes: [{item, x, y, width, height, cells or null}], edges: [{edge, points}]}
async function layOut(items) {
  const parts = [];
  for (const list of [items.main, items.apart]) {
    if (list.length) parts.push(await layPart(items, list));
  }
  const height = Math.max(0, ...parts.map((part) => part.height));
  const boxes = [], edges = [];
  let left = 0;
  parts.forEach((part, i) => {
    const dx = left, dy = i ? Math.max(0, (height - part.height) / 2) : 0;
    boxes.push(...part.boxes.map((box) => ({ ...box, x: box.x + dx, y: box.y + dy })));
    edges.push(...part.edges.map((e) => ({ ...e, points: e.points.map(([x, y]) => [x + dx, y + dy]) })));
    left += part.width + 40;
  });
  edges.push(...waysToUpdate(items, boxes));
  titled(boxes, edges);
  return { width: Math.max(1, left - 40), height: Math.max(1, height), boxes, edges };
}

async function layPart(items, list) {
  const cells = new Map(), children = forLayout(items, list, cells);
  const edges = edgesOf(items).filter(({ from, to }) =>
    from.apart === list[0].apart && (from !== to || cells.get(from.id).length === 2));
  const lines = edges.map((edge) => routed(edge, cells));
  const laid = await new ELK().layout({ id: "root", layoutOptions: OPTIONS, children,
    edges: lines.filter(Boolean) });
  const boxes = [], places = new Map();
  (function placed(found) {
    for (const child of found) {
      const { x, y, width, height } = child, item = items.all.get(child.id);
      const box = { item, x, y, width, height, cells: cells.get(child.id) ?? null };
      boxes.push(box);
      places.set(item.id, box);
      placed(child.children ?? []);
    }
  })(laid.children ?? []);
  const ways = new Map();
  (function collected(part) {
    for (const line of part.edges ?? []) {
      ways.set(line.id, line.sections.flatMap((s) => [s.startPoint, ...(s.bendPoints ?? []), s.endPoint])
        .map(({ x, y }) => [x, y]));
    }
    (part.children ?? []).forEach(collected);
  })(laid);
  const drawn = edges.flatMap((edge) => {
    const points = ways.get(edge.key) ?? [];
    const turned = edge.a === "backward" && edge.b === "backward" ? [...points].reverse() : points;
    return [{ edge, points: ended(edge, turned, places) }];
  });
  return { width: laid.width, height: laid.height, boxes, edges: drawn };
}

// The way of an edge with its pieces inside of rows: from half to half through the gap.
function ended(edge, points, places) {
  if (edge.a !== "forward" || edge.b !== "backward") return points;
  const from = places.get(edge.from.id), to = places.get(edge.to.id);
  const right = (box) => box.x + box.cells[0].width, middle = (box) => box.y + box.height / 2;
  if (edge.from === edge.to) {
    return [[right(from), middle(from)], [right(from) + GAP, middle(from)]];
  }
  const first = from.cells.length === 2
    ? [[right(from), middle(from)], [right(from) + GAP / 2, middle(from)]] : [];
  const last = to.cells.length === 2
    ? [[right(to) + GAP / 2, middle(to)], [right(to) + GAP, middle(to)]] : [];
  return [...first, ...points, ...last];
}

// Titles of open boxes stand where no edge comes in from above: in the widest free part of the top.
function titled(boxes, edges) {
  for (const box of boxes.filter((each) => !each.cells)) {
    const gaps = freeAbove(box, edges), text = `− ${box.item.box.label}`;
    const [left, wide] = gaps.find(([, width]) => width >= text.length * CHAR + 12) ??
      gaps.reduce((a, b) => (b[1] > a[1] ? b : a));
    box.title = { x: left + 6, text: cut(text, Math.max(1, Math.floor((wide - 12) / CHAR))) };
  }
}

// -> [[left, width]] of what no edge crosses in the row of a box's title
function freeAbove(box, edges) {
  const crossed = [];
  for (const { points } of edges) {
    points.slice(1).forEach(([x, y], i) => {
      const [px, py] = points[i], left = Math.min(x, px), right = Math.max(x, px);
      if (Math.max(y, py) > box.y && Math.min(y, py) < box.y + TITLE) crossed.push([left, right]);
    });
  }
  crossed.sort(([a], [b]) => a - b);
  const gaps = [], end = box.x + box.width;
  let at = box.x;
  for (const [left, right] of [...crossed, [end, end]]) {
    if (right < box.x) continue;
    gaps.push([at, Math.min(left, end) - at]);
    at = Math.max(at, right);
  }
  return gaps;
}
