"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const view = byId("view"), picture = byId("picture"), details = byId("details");
  const size = { width: picture.width.baseVal.value, height: picture.height.baseVal.value };
  const titles = [...document.querySelectorAll("thead th")].map((cell) => cell.textContent);
  let chosen = null, zoom = 1;

  const boxOf = (row) => byId("v" + row.id.slice(1));
  const rowOf = (box) => byId("n" + box.id.slice(1));
  const linked = (row, column) =>
    [...row.cells[column].querySelectorAll("a")].map((a) => byId(a.hash.slice(1)));
  const operands = (row) => linked(row, 6), users = (row) => linked(row, 7);
  const corner = (box) => box.transform.baseVal[0].matrix;

  // --- choosing a node ---
  function choose(row, focus) {
    if (chosen) {
      chosen.classList.remove("chosen");
      boxOf(chosen).classList.remove("chosen");
      boxOf(chosen).tabIndex = -1;
    }
    chosen = row;
    const box = boxOf(row);
    row.classList.add("chosen");
    box.classList.add("chosen");
    box.tabIndex = 0;
    show(row);
    byId("near").setAttribute("d", nearby(row));
    reveal(box);
    if (focus) box.focus({ preventScroll: true });
  }

  function show(row) {
    const list = document.createElement("dl");
    titles.forEach((title, i) => {
      if (!row.cells[i].textContent) return;
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = title;
      value.append(...[...row.cells[i].childNodes].map((child) => child.cloneNode(true)));
      list.append(term, value);
    });
    details.replaceChildren(list);
  }

  function nearby(row) {
    const curve = (from, to) => {
      const a = corner(boxOf(from)), b = corner(boxOf(to));
      const rect = boxOf(from).querySelector("rect");
      const w = rect.width.baseVal.value / 2, h = rect.height.baseVal.value;
      const bend = Math.min((b.f - a.f - h) / 2, 60);
      return `M${a.e + w} ${a.f + h}C${a.e + w} ${a.f + h + bend} ` +
        `${b.e + w} ${b.f - bend} ${b.e + w} ${b.f}`;
    };
    return [...operands(row).map((o) => curve(o, row)), ...users(row).map((u) => curve(row, u))]
      .join("");
  }

  function reveal(box) {
    const outer = view.getBoundingClientRect(), inner = box.getBoundingClientRect();
    if (inner.left < outer.left || inner.right > outer.right)
      view.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
    if (inner.top < outer.top || inner.bottom > outer.bottom)
      view.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#n']"), box = event.target.closest(".n");
    if (!link && !box) return;
    event.preventDefault();
    if (link && details.contains(link)) {
      choose(byId(link.hash.slice(1)), false);
      details.querySelector("a").focus({ preventScroll: true });
    } else {
      choose(link ? byId(link.hash.slice(1)) : rowOf(box), Boolean(box));
    }
  });

  // --- moving with the keyboard ---
  function beside(row, step) {
    const here = corner(boxOf(row));
    const layer = [...picture.querySelectorAll(".n")]
      .filter((box) => corner(box).f === here.f)
      .sort((a, b) => corner(a).e - corner(b).e);
    const next = layer[layer.indexOf(boxOf(row)) + step];
    return next && rowOf(next);
  }

  const moves = {
    ArrowUp: (row) => operands(row)[0],
    ArrowDown: (row) => users(row)[0],
    ArrowLeft: (row) => beside(row, -1),
    ArrowRight: (row) => beside(row, 1),
    Enter: (row) => row,
    " ": (row) => row,
  };
  picture.addEventListener("keydown", (event) => {
    const box = event.target.closest(".n"), move = moves[event.key];
    if (!box || !move) return;
    event.preventDefault();
    const next = move(rowOf(box));
    if (next) choose(next, true);
  });
  const first = picture.querySelector(".n");
  if (first) first.tabIndex = 0;
  picture.addEventListener("focusin", (event) => {
    const box = event.target.closest(".n");
    if (box && rowOf(box) !== chosen) {
      if (first) first.tabIndex = -1;
      choose(rowOf(box), true);
    }
  });

  // --- zooming and dragging ---
  function setZoom(value, x = view.clientWidth / 2, y = view.clientHeight / 2) {
    const next = Math.min(4, Math.max(0.02, value)), ratio = next / zoom;
    const left = (view.scrollLeft + x) * ratio - x, top = (view.scrollTop + y) * ratio - y;
    zoom = next;
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
  byId("in").onclick = keys["+"];
  byId("out").onclick = keys["-"];
  byId("fit").onclick = keys[0];
  byId("full").onclick = () => setZoom(1);
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
    if (event.button !== 0 || event.pointerType !== "mouse" || event.target.closest(".n")) return;
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
  setZoom(Math.max(Math.min(view.clientWidth / size.width, 1), 0.7));
  const boxes = [...picture.querySelectorAll(".n")];
  if (boxes.length) {
    const top = boxes.reduce((a, b) => (corner(b).f < corner(a).f ? b : a));
    const middle = corner(top).e + top.querySelector("rect").width.baseVal.value / 2;
    view.scrollTo(middle * zoom - view.clientWidth / 2, 0);
  }

  // --- searching the table ---
  const rows = [...document.querySelectorAll("tbody tr")];
  let texts = null;
  byId("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    texts ??= rows.map((row) => row.textContent.toLowerCase());
    rows.forEach((row, i) => {
      const matches = words.every((word) => texts[i].includes(word));
      row.hidden = !matches;
      count += matches;
    });
    byId("found").textContent = words.length ? `${count} of ${rows.length} nodes` : "";
  });
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
})();
