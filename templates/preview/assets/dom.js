// What is shown was written by anybody, so elements are only ever made here:
// children are nodes or text, never markup.

export const $ = (id) => document.getElementById(id);

// h makes an element. Attributes that are functions are listeners; false, null
// and undefined leave an attribute out.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== false && c != null));
  return element;
}

export function show(element, visible) { element.hidden = !visible; }

// setText leaves an element alone that says it already: a selection in it stays.
export function setText(element, text) { if (element.textContent !== text) element.textContent = text; }

// fill replaces children only when they would differ, so that scrolling and
// the keyboard's place stay.
export function fill(element, ...children) {
  const made = h("div", {}, ...children);
  if (element.innerHTML !== made.innerHTML) element.replaceChildren(...made.childNodes);
}

// announce tells who cannot see the page what has happened.
export function announce(words) { $("announce").textContent = words; }

// segments is a row of buttons of which one is pressed.
export function segments(label, choices, chosen, choose) {
  return h("div", { class: "segments", role: "group", "aria-label": label }, choices.map(([value, words, hint]) =>
    h("button", { type: "button", "data-value": value, "aria-pressed": String(value === chosen), title: hint, onclick: () => choose(value) }, words)));
}

export function toggle(words, pressed, choose, hint) {
  return h("button", { type: "button", class: "toggle", "aria-pressed": String(pressed), title: hint, onclick: () => choose(!pressed) }, words);
}

// copyButton copies what text() gives, perhaps later.
export function copyButton(words, text) {
  const button = h("button", { type: "button", class: "quiet small" }, words);
  button.onclick = async () => {
    const value = await text();
    try {
      await navigator.clipboard.writeText(value);
      button.textContent = "Copied";
      announce("Copied");
    } catch { // not over HTTPS or loopback, or not allowed
      button.textContent = "Select and copy it";
      announce("The browser does not allow copying: select the text and copy it");
    }
    setTimeout(() => { button.textContent = words; }, 1500);
  };
  return button;
}

const token = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// json is JSON text with its words in colour.
export function json(text) {
  const out = [];
  let end = 0;
  for (const m of text.matchAll(token)) {
    out.push(text.slice(end, m.index));
    const kind = m[1] ? (m[2] ? "key" : "str") : m[3] ? "word" : "num";
    out.push(h("span", { class: kind }, m[1] || m[0]), m[2] || "");
    end = m.index + m[0].length;
  }
  return [...out, text.slice(end)];
}

// languageName is a locale for people; the tag itself where there is no name.
export function languageName(tag) {
  try { return new Intl.DisplayNames(["en"], { type: "language" }).of(tag); } catch { return tag; }
}
