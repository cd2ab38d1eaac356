// Ways over a landscape, drawn up to a step; a timer moves on while it plays.

(() => {
  const byId = (id) => document.getElementById(id);
  const landscapes = JSON.parse(byId("data").textContent);
  const canvas = byId("walk-map"), pen = canvas.getContext("2d"), side = canvas.width;
  const COLOURS = ["#111111", "#0072b2", "#56a0d3", "#00795a", "#00868b", "#7a9a01", "#b8860b", "#d55e00",
    "#a0522d", "#9b4f96", "#5b2c83", "#c2185b"];
  const hidden = new Set();
  let shown = null, picture = new Image(), now = 0, timer = null;

  const place = ([x, y]) => {
    const [left, right, low, high] = shown.extent;
    return [(x - left) / (right - left) * side, (high - y) / (high - low) * side];
  };
  const at = (way) => Math.min(now, way.points.length - 1);

  function line(points, colour, width) {
    pen.beginPath();
    points.forEach((point, i) => {
      const [x, y] = place(point);
      if (i) pen.lineTo(x, y); else pen.moveTo(x, y);
    });
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.stroke();
  }

  function head(point, colour, number) {
    const [x, y] = place(point);
    pen.beginPath();
    pen.arc(x, y, 14, 0, 2 * Math.PI);
    pen.fillStyle = colour;
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = "#fff";
    pen.stroke();
    pen.fillStyle = "#fff";
    pen.fillText(number, x, y + 0.5);
  }

  function ellipse(center, [a, b, angle], deviations) {
    pen.beginPath();
    for (let i = 0; i <= 72; i += 1) {
      const turn = i / 36 * Math.PI, u = deviations * a * Math.cos(turn), v = deviations * b * Math.sin(turn);
      const [x, y] = place([center[0] + u * Math.cos(angle) - v * Math.sin(angle),
        center[1] + u * Math.sin(angle) + v * Math.cos(angle)]);
      if (i) pen.lineTo(x, y); else pen.moveTo(x, y);
    }
    pen.fillStyle = "#c2185b22";
    pen.fill();
    pen.strokeStyle = "#c2185b";
    pen.lineWidth = 2;
    pen.stroke();
  }

  function search(way) {
    const t = at(way);
    (shown.populations[t - 1] ?? []).forEach((point) => {
      const [x, y] = place(point);
      pen.beginPath();
      pen.arc(x, y, 3.5, 0, 2 * Math.PI);
      pen.fillStyle = "#c2185b";
      pen.fill();
    });
    [2, 1].forEach((deviations) => ellipse(way.points[t], shown.ellipses[t], deviations));
  }

  function draw() {
    pen.clearRect(0, 0, side, side);
    if (picture.complete) pen.drawImage(picture, 0, 0, side, side);
    pen.lineJoin = "round";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = "bold 17px system-ui, sans-serif";
    shown.optima.forEach((point) => {
      const [x, y] = place(point);
      pen.beginPath();
      pen.arc(x, y, 16, 0, 2 * Math.PI);
      pen.strokeStyle = "#111";
      pen.lineWidth = 2.5;
      pen.stroke();
    });
    const seen = shown.ways.map((way, i) => [way, i]).filter(([way]) => !hidden.has(way.name));
    seen.filter(([way]) => way === shown.ways.at(-1)).forEach(([way]) => search(way));
    seen.forEach(([way, i]) => {
      const points = way.points.slice(0, at(way) + 1);
      line(points, "#ffffffcc", 6);
      line(points, COLOURS[i], 3);
    });
    seen.forEach(([way, i]) => head(way.points[at(way)], COLOURS[i], i + 1));
    shown.ways.forEach((way, i) => {
      byId(`height${i}`).textContent = way.values[at(way)].toPrecision(3);
    });
    byId("time").value = now;
    byId("now").textContent = now;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    byId("play").textContent = "Play";
  }

  function play() {
    if (timer !== null) { stop(); return; }
    if (now >= shown.steps) now = 0;
    byId("play").textContent = "Pause";
    timer = setInterval(() => {
      now += 1;
      if (now >= shown.steps) { now = shown.steps; stop(); }
      draw();
    }, 60);
  }

  function rows() {
    byId("ways").tBodies[0].innerHTML = "";
    shown.ways.forEach((way, i) => {
      const row = byId("ways").tBodies[0].insertRow();
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !hidden.has(way.name);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(way.name); else hidden.add(way.name);
        draw();
      });
      const sign = document.createElement("span");
      sign.innerHTML = `<svg width="26" height="26" aria-hidden="true"><circle cx="13" cy="13" r="12" fill="${COLOURS[i]}" stroke="currentColor"/>`
        + `<text x="13" y="18" text-anchor="middle" font-size="14" font-weight="bold" fill="#fff">${i + 1}</text></svg>`;
      label.append(box, sign, way.name);
      row.insertCell().append(label);
      const cell = row.insertCell();
      cell.className = "number";
      cell.id = `height${i}`;
    });
  }

  function choose(number) {
    stop();
    shown = landscapes[number];
    now = 0;
    byId("time").max = shown.steps;
    byId("formula").textContent = `f = ${shown.formula}`;
    byId("said").textContent = shown.said;
    rows();
    picture = new Image();
    picture.onload = draw;
    picture.src = shown.surface;
    draw();
  }

  landscapes.forEach((each, i) => byId("choice").add(new Option(each.name, i)));
  byId("choice").addEventListener("change", () => choose(Number(byId("choice").value)));
  byId("play").addEventListener("click", play);
  byId("once").addEventListener("click", () => { stop(); now = Math.min(now + 1, shown.steps); draw(); });
  byId("time").addEventListener("input", () => { stop(); now = Number(byId("time").value); draw(); });
  choose(0);
})();
