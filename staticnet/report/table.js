// Elements, numbers, and tables that sort, search and show a page of their rows at a time.

const PAGE = 100, SEARCHED = 12;

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return element;
}

const count = (value) => (typeof value === "number" ? value.toLocaleString("en") : String(value));
const percent = (value) => (value > 0 && value < 0.0005 ? "< 0.1 %"
  : `${(value * 100).toFixed(value < 0.0995 ? 1 : 0)} %`);

function scaled(value, units, step, told) {
  let at = 0;
  while (at + 1 < units.length && Math.abs(value) >= step) { value /= step; at += 1; }
  return `${told(value)} ${units[at]}`;
}
const counted = (value) => Number(value.toPrecision(3)).toLocaleString("en");
// what is measured is good for two digits
const measured = (value) => {
  const rounded = Number(value.toPrecision(2));
  return Math.abs(rounded) >= 10 ? rounded.toLocaleString("en") : value.toPrecision(2);
};
const bytes = (value) => scaled(value, ["B", "KiB", "MiB", "GiB", "TiB"], 1024, counted);
const seconds = (value) => (value >= 1 ? `${measured(value)} s`
  : scaled(value * 1e9, ["ns", "µs", "ms", "s"], 1000, measured));
const rate = (value, unit) =>
  scaled(value, ["", "k", "M", "G", "T"].map((p) => p + unit), 1000, measured);

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

// columns: [{title, of: row => value, show: row => text or element, number: whether it is one,
// place: "wide" if a phone shows it on demand, "more" if every screen does, else ""}]
// The first column names the row. `choose(row)` marks a row and turns to its page.
function makeTable(place, name, columns, rows) {
  const state = { rows, first: 0, column: null, down: false, chosen: null };
  const kind = ({ number, place: where }) =>
    [number && "number", where].filter(Boolean).join(" ") || null;
  const lines = new Map(); // of the rows that are shown
  const text = (row) => columns.map((column) => String(column.of(row))).join(" ").toLowerCase();
  let texts = null;

  const heads = columns.map((column) => h("th", { scope: "col", class: kind(column) },
    h("button", { type: "button", onclick: () => sort(column) }, column.title)));
  const body = h("tbody");
  const found = h("output");
  const search = h("input", { type: "search", autocomplete: "off", oninput: filter });
  const back = h("button", { type: "button", onclick: () => turn(-PAGE) }, "Previous");
  const on = h("button", { type: "button", onclick: () => turn(PAGE) }, "Next");
  const pages = h("span", { class: "pages" }, back, on);
  const demand = columns.some((column) => column.place) ? h("button", { type: "button",
    class: columns.some(({ place: where }) => where === "more") ? "demand" : "demand narrow",
    "aria-pressed": "false", onclick: () => {
      const all = table.classList.toggle("all");
      demand.setAttribute("aria-pressed", String(all));
    } }, "All columns") : null;
  const bar = h("div", { class: "bar" },
    rows.length > SEARCHED ? h("label", {}, `Search ${name} `, search) : null, found,
    rows.length > PAGE ? pages : null, demand);
  const table = h("table", {}, h("thead", {}, h("tr", {}, heads)), body);
  const frame = h("div", { class: "rows", tabindex: 0, role: "region", "aria-label": `Table: ${name}` }, table);
  place.replaceChildren(bar, frame);

  function sort(column) {
    state.down = state.column === column && !state.down;
    state.column = column;
    state.rows = [...state.rows].sort((a, b) =>
      compare(column.of(a), column.of(b)) * (state.down ? -1 : 1));
    heads.forEach((head, i) => {
      if (columns[i] !== column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    });
    state.first = 0;
    fill();
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    texts ??= new Map(rows.map((row) => [row, text(row)]));
    state.rows = rows.filter((row) => words.every((word) => texts.get(row).includes(word)));
    state.first = 0;
    if (state.column) { state.down = !state.down; sort(state.column); } else fill();
  }

  function turn(step) {
    state.first += step;
    fill();
    frame.scrollTop = 0;
  }

  function fill() {
    const { rows: all, first } = state, last = Math.min(first + PAGE, all.length);
    lines.clear();
    for (const row of all.slice(first, last)) lines.set(row, h("tr", {}, cells(row)));
    body.replaceChildren(...lines.values());
    lines.get(state.chosen)?.classList.add("chosen");
    found.textContent = rows.length > PAGE || all.length < rows.length
      ? `${all.length ? first + 1 : 0} to ${last} of ${count(all.length)}` : "";
    back.disabled = first === 0;
    on.disabled = last >= all.length;
  }

  function cells(row) {
    return columns.map((column, i) => {
      const shown = column.show ? column.show(row) : count(column.of(row));
      return i === 0 ? h("th", { scope: "row" }, shown) : h("td", { class: kind(column) }, shown);
    });
  }

  function choose(row) {
    lines.get(state.chosen)?.classList.remove("chosen");
    state.chosen = row;
    const at = state.rows.indexOf(row);
    if (at < 0) return;
    if (!lines.has(row)) {
      state.first = Math.floor(at / PAGE) * PAGE;
      fill();
    }
    const line = lines.get(row);
    line.classList.add("chosen");
    const outer = frame.getBoundingClientRect(), inner = line.getBoundingClientRect();
    if (inner.top < outer.top + 30 || inner.bottom > outer.bottom)
      frame.scrollTop += inner.top - outer.top - outer.height / 2;
  }

  fill();
  return { choose };
}
