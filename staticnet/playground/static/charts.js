// Losses over the epochs: two lines in a bounded memory, thinned as they grow.

const MOST = 600;

export class Losses {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
  }

  clear() {
    this.rows = [];
    this.draw();
  }

  // an epoch that was told already is told anew
  add(epoch, train, test) {
    const last = this.rows.at(-1);
    if (last && epoch < last[0]) this.rows = [];
    if (last && epoch === last[0]) this.rows.pop();
    this.rows.push([epoch, train, test]);
    if (this.rows.length > MOST) this.rows = this.rows.filter((_, i) => i % 2 === 0 || i === this.rows.length - 1);
    this.draw();
  }

  draw() {
    const { canvas, rows } = this, context = canvas.getContext("2d");
    const width = canvas.clientWidth || 300, height = canvas.clientHeight || 70, ratio = devicePixelRatio;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    context.font = `14px ${style.fontFamily}`;
    const finite = rows.filter(([, a, b]) => Number.isFinite(a) && Number.isFinite(b));
    if (!finite.length) return;
    const most = Math.max(...finite.map(([, a, b]) => Math.max(a, b))), last = finite.at(-1)[0] || 1;
    const left = 40, x = (epoch) => left + (epoch / last) * (width - left - 4);
    const y = (loss) => 8 + (1 - loss / (most || 1)) * (height - 24);
    context.fillStyle = style.getPropertyValue("--quiet");
    context.fillText(most.toPrecision(2), 0, 14);
    context.fillText("0", 26, height - 12);
    context.fillText(`epoch ${Math.round(last).toLocaleString("en")}`, width - 8 - context.measureText(`epoch ${Math.round(last).toLocaleString("en")}`).width, height - 4);
    context.strokeStyle = style.getPropertyValue("--line");
    context.strokeRect(left, 8, width - left - 4, height - 24);
    for (const [column, name, dash] of [[2, "--test", [5, 3]], [1, "--train", []]]) {
      context.beginPath();
      context.setLineDash(dash);
      context.lineWidth = 2;
      context.strokeStyle = style.getPropertyValue(name);
      finite.forEach((row) => context.lineTo(x(row[0]), y(row[column])));
      context.stroke();
    }
    context.setLineDash([]);
  }
}
