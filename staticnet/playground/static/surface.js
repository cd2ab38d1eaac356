// Surfaces: a signed byte a cell, from orange through the ground to blue, and points over them.

const ORANGE = [245, 147, 34], BLUE = [8, 119, 189];
const dark = matchMedia("(prefers-color-scheme: dark)");
let table = null, stepped = null;

function mixed(a, b, t) {
  return a.map((x, i) => Math.round(x + (b[i] - x) * t));
}

// [256] colours of the bytes -128 to 127, and the same of two classes
function tables() {
  if (table) return;
  const ground = dark.matches ? [38, 44, 53] : [232, 234, 235];
  const make = (level) => {
    const made = new Uint32Array(256), bytes = new Uint8Array(made.buffer);
    for (let i = 0; i < 256; i++) {
      const value = Math.max(-1, (i << 24 >> 24) / 127), t = level(value);
      bytes.set([...mixed(ground, t < 0 ? ORANGE : BLUE, Math.abs(t)), 255], 4 * i);
    }
    return made;
  };
  table = make((v) => v);
  stepped = make((v) => (v < 0 ? -0.85 : 0.85));
}
dark.addEventListener("change", () => { table = null; });

export const colour = (value) => {
  tables();
  const bytes = new Uint8Array(table.buffer), i = 4 * (Math.round(Math.max(-1, Math.min(1, value)) * 127) & 255);
  return `rgb(${bytes[i]} ${bytes[i + 1]} ${bytes[i + 2]})`;
};
export const lineColour = (value) => (value < 0 ? "rgb(245 147 34)" : "rgb(8 119 189)");

// cells: Int8Array [side²], drawn on a canvas of side × side
export function paint(canvas, cells, side, discrete = false) {
  tables();
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d"), image = context.createImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer), used = discrete ? stepped : table;
  for (let i = 0; i < pixels.length; i++) pixels[i] = used[cells[i] & 255];
  context.putImageData(image, 0, 0);
}

export function paintScale(canvas) {
  const cells = Int8Array.from({ length: canvas.width }, (_, i) => Math.round((i / (canvas.width - 1) * 2 - 1) * 127));
  tables();
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, 1);
  new Uint32Array(image.data.buffer).forEach((_, i, pixels) => { pixels[i] = table[cells[i] & 255]; });
  context.putImageData(image, 0, 0);
}

// The large surface: its cells, and points as dots on a canvas of their own, which seldom change.
export class Surface {
  constructor(canvas, over, edge) {
    Object.assign(this, { canvas, over, edge, train: [], test: [], shown: false });
    this.small = document.createElement("canvas");
    new ResizeObserver(() => this.again()).observe(canvas);
    dark.addEventListener("change", () => this.again());
  }

  setPoints(train, test) {
    Object.assign(this, { train, test });
    this.drawPoints();
  }

  showTest(shown) {
    if (this.shown !== shown) {
      this.shown = shown;
      this.drawPoints();
    }
  }

  draw(cells, side, { discrete }) {
    this.last = [cells, side, { discrete }];
    paint(this.small, cells, side, discrete);
    const size = this.canvas.width, context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = !discrete;
    context.drawImage(this.small, 0, 0, size, size);
  }

  // at another size, or in other colours
  again() {
    const size = Math.round(this.canvas.clientWidth * devicePixelRatio) || 300;
    if (this.canvas.width !== size) this.canvas.width = this.canvas.height = size;
    if (this.last) this.draw(...this.last);
    this.drawPoints();
  }

  drawPoints() {
    const size = this.over.width = this.over.height = this.canvas.width, context = this.over.getContext("2d");
    if (this.shown) this.dots(context, size, this.test, "#000");
    this.dots(context, size, this.train, "#fff");
  }

  dots(context, size, points, edge) {
    const radius = Math.max(2.2, size / 110), scale = size / (2 * this.edge);
    context.lineWidth = Math.max(0.8, size / 350);
    context.strokeStyle = edge;
    for (let i = 0; i < points.length; i += 3) {
      context.beginPath();
      context.arc((points[i] + this.edge) * scale, (this.edge - points[i + 1]) * scale, radius, 0, 7);
      context.fillStyle = colour(points[i + 2]);
      context.fill();
      context.stroke();
    }
  }
}
