// element("button", { class: "x", onclick: f }, "text"): an element with its attributes and children.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function number(value, digits = 3) {
  if (!Number.isFinite(value)) return "NaN"; // null: the session cannot tell it as JSON
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(digits - 1).replaceAll("-", "−");
  return (value || 0).toLocaleString("en", { maximumSignificantDigits: digits }).replace("-", "−");
}

// into a field of numbers, which takes no others
export function fill(input, value, digits) {
  const finite = Number.isFinite(value);
  input.value = finite ? value.toFixed(digits) : "";
  input.placeholder = finite ? "" : "NaN";
}

export const count = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");

export function seconds(value) {
  if (!Number.isFinite(value)) return "–";
  const [factor, unit] = value >= 1 ? [1, "s"] : value >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
  return `${number(value * factor, 2)} ${unit}`;
}

export const loss = (value) => (Number.isFinite(value) ? value.toFixed(4) : "not finite");
export const percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "–");
