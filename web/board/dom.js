// Elements from plain values: never from markup, so that no text can become markup.

/** Returns a new element with a class, attributes, listeners (`on…`) and children. */
export function make(tag, name, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else set(element, key, value);
  }
  element.append(...children);
  return element;
}

/** Returns a new button with a class, a listener, attributes and children. */
export const button = (name, onclick, attributes = {}, ...children) =>
  make("button", name, { type: "button", onclick, ...attributes }, ...children);

/** Paths of the icons, on a square of 16 units. */
const ICONS = {
  pick: "M3 8.5l3.5 3.5L13 4.5",
  run: "M5 3l8 5-8 5z",
  discard: "M4 4l8 8M12 4l-8 8",
  close: "M4 4l8 8M12 4l-8 8",
  more: "M3 8h.01M8 8h.01M13 8h.01",
  copy: "M6 6h7v7H6zM10 3H3v7",
  full: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  back: "M6 3v3H3M13 6h-3V3M10 13v-3h3M3 10h3v3",
  before: "M10 3L5 8l5 5",
  after: "M6 3l5 5-5 5",
  compare: "M8 2v12M2 4h4v8H2zM10 4h4v8h-4z",
  file: "M6 4H3v9h9v-3M9 3h4v4M13 3L7 9",
  fit: "M2 3h5v4H2zM9 3h5v4H9zM2 9h5v4H2zM9 9h5v4H9z",
};

/** Returns a new drawing, by its name in `ICONS`; screen readers skip it. */
export function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  set(svg, "class", "dp-icon");
  set(svg, "viewBox", "0 0 16 16");
  set(svg, "aria-hidden", "true");
  set(path, "d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Gives a control a name, for screen readers and as its tooltip. */
export function label(element, value) {
  set(element, "aria-label", value);
  set(element, "title", value);
}

/** Sets an attribute, or removes it (null, false). Writes only what differs. */
export function set(element, name, value) {
  const wanted = value === null || value === false ? null : value === true ? "" : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

/** Sets the text of an element, if it differs. */
export function write(element, value) {
  if (element.textContent !== value) element.textContent = value;
}
