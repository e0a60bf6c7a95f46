// Elements from data. Text is always text: a user may be called <script>.

export const byId = (id) => document.getElementById(id);

/** An element with properties, `class`, `data-` and `aria-` attributes, and children (text or elements). */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets text only where it differs, so that screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const show = (element, visible) => {
  element.hidden = !visible;
};

/** Makes the children of `parent` one per item, by key: those that stay keep their focus. */
export function keyed(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = old.get(name);
    if (child) old.delete(name);
    else {
      child = create(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}

/** A bar that is `share` full (0 to 1, or null: there is no end to it), with words beside it. */
export function bar(label) {
  const fill = make("span", { class: "fill" });
  const text = make("span", { class: "words" });
  const track = make("span", { class: "track", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
  const element = make("span", { class: "meter" }, track, text);
  return {
    element,
    set(share, words) {
      const full = share === null ? 0 : Math.min(Math.max(share, 0), 1);
      fill.style.width = `${full * 100}%`;
      element.classList.toggle("full", share !== null && share >= 0.95);
      element.classList.toggle("near", share !== null && share >= 0.8 && share < 0.95);
      element.classList.toggle("endless", share === null);
      track.setAttribute("aria-valuenow", String(Math.round(full * 100)));
      track.setAttribute("aria-valuetext", words);
      say(text, words);
    },
  };
}
