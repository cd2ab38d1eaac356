// The gradients' ways: out of a layer to the right, past what stands there, and along one line to the
// update. Two parts are laid out each for itself, so elkjs has not seen these.

const BESIDE = 5; // pixels from a box: its shadow takes 3, and elkjs' own edges begin at 8
const DETOURS = 2;

function waysToUpdate(items, boxes) {
  const target = boxes.find((box) => box.item === items.apart[0]);
  if (!target) return [];
  const line = target.x - 20, end = [target.x, target.y + target.height / 2];
  const sources = givers(items);
  return boxes.filter((box) => sources.has(box.item)).flatMap((box) => {
    const start = [box.x + box.width, box.y + box.height / 2];
    const way = wayOut(start, line, inTheWay(boxes, box, line), DETOURS);
    const edge = { from: box.item, to: target.item, a: "backward", b: "backward" };
    return way ? [{ edge, points: [start, ...way, [line, end[1]], end] }] : [];
  });
}

// the items whose backward halves give the update something
function givers(items) {
  const found = new Set(), { nodes } = items.graph;
  nodes.forEach((node, i) => {
    if (!shownItem(items, i)?.apart) return;
    for (const operand of node.operands) {
      const item = shownItem(items, operand);
      if (item && !item.apart && halfOf(items, nodes[operand]) === "backward") found.add(item);
    }
  });
  return found;
}

// what stands to the right of a box, before the line, and does not hold it
function inTheWay(boxes, box, line) {
  const around = new Set();
  for (let each = box.item; each; each = each.parent) around.add(each);
  return boxes.filter((other) => !around.has(other.item) && other.x < line &&
    other.x + other.width > box.x + box.width);
}

// The points after one from which a way goes to the line: straight, or by a row between boxes, the
// nearest first; null if there is none of so few detours.
function wayOut([x, y], line, boxes, detours) {
  const isFree = (a, b) => boxes.every((box) => isBeside(box, a, b));
  const blocking = boxes.filter((box) => !isBeside(box, [x, y], [line, y]));
  if (!blocking.length) return [[line, y]];
  if (!detours) return null;
  const first = Math.min(...blocking.map((box) => box.x));
  const columns = [x + BESIDE, first - BESIDE].filter((c) => c > x && c < first);
  const rows = boxes.flatMap((box) => [box.y - BESIDE, box.y + box.height + BESIDE]);
  rows.sort((a, b) => Math.abs(a - y) - Math.abs(b - y));
  for (const row of rows) {
    for (const column of columns.filter((c) => isFree([c, y], [c, row]))) {
      const rest = wayOut([column, row], line, boxes, detours - 1);
      if (rest) return [[column, y], [column, row], ...rest];
    }
  }
  return null;
}

// whether a line that runs along an axis does not touch a box
function isBeside({ x, y, width, height }, [ax, ay], [bx, by]) {
  return Math.max(ax, bx) <= x || Math.min(ax, bx) >= x + width ||
    Math.max(ay, by) <= y || Math.min(ay, by) >= y + height;
}
