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
