// Everything that is looked at stands in the address, so that a link leads to
// it and the browser's back button leads back:
//
//   #order-shipped?locale=de&beside=en&channel=push
//
// What somebody typed as data stays in this tab alone.

const defaults = {
  template: "", locale: "", beside: "", sample: "", channel: "",
  view: "html", width: "desktop", dark: "", images: "", push: "collapsed", data: "form",
  file: "", line: "",
};

export const state = { ...defaults };
let listener = () => {};

export function onChange(f) { listener = f; }

export function address(of = state) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(of)) {
    if (key !== "template" && value !== defaults[key]) query.set(key, value);
  }
  const rest = query.toString();
  return "#" + encodeURIComponent(of.template) + (rest && "?" + rest);
}

// change moves to another state; what happened before is an address away.
// A part that is only typed is replaced, not added to the history.
export function change(patch, { replace = false } = {}) {
  const before = { ...state };
  Object.assign(state, patch);
  const to = address();
  if (to !== location.hash) history[replace ? "replaceState" : "pushState"](null, "", to);
  listener(before);
}

export function read() {
  const hash = location.hash.slice(1);
  const cut = hash.indexOf("?");
  Object.assign(state, defaults);
  try {
    state.template = decodeURIComponent(cut < 0 ? hash : hash.slice(0, cut));
  } catch { // an address that somebody cut off
    return;
  }
  for (const [key, value] of new URLSearchParams(cut < 0 ? "" : hash.slice(cut + 1))) {
    if (key in defaults && key !== "template") state[key] = value;
  }
}

addEventListener("popstate", () => {
  const before = { ...state };
  read();
  listener(before);
});

// edits are what was typed in place of a sample, by template.
const kept = "carillon-preview-edits";
let edits = {};
try { edits = JSON.parse(sessionStorage.getItem(kept)) || {}; } catch { /* storage is off, or is not ours */ }

export const edited = (template) => edits[template];

export function edit(template, text) {
  if (text === undefined) delete edits[template];
  else edits[template] = text;
  try { sessionStorage.setItem(kept, JSON.stringify(edits)); } catch { /* it lasts as long as the page */ }
}
