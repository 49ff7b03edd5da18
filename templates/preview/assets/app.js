"use strict";

// The preview page. What is rendered was written by anybody: it is only ever
// put into the page as text, and a mail's HTML only into a frame that may do
// nothing: an opaque origin without scripts, under this page's own policy.

const $ = (id) => document.getElementById(id);
const OTHER = "other…"; // the choice of a locale that the template does not have
const page = {
  catalogue: { templates: [], default_locale: "" },
  template: null,
  locale: "",
  edits: new Map(), // template → data that somebody typed
  asked: 0,         // renderings asked for, so that a late answer is dropped
};

function show(element, visible) { element.hidden = !visible; }

function live(state, words) {
  $("live").dataset.state = state;
  $("live").textContent = words;
}

// The address's fragment remembers what is looked at: #template/locale/sample.
function remember() {
  const parts = [page.template.name, page.locale, $("sample").value];
  history.replaceState(null, "", "#" + parts.map(encodeURIComponent).join("/"));
}

function remembered() {
  try {
    return location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch { // a fragment that somebody cut off
    return [];
  }
}

// ——— what to render ———

const samples = () => page.template.samples || [];

function options(select, values, chosen) {
  select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
}

function drawTemplates() {
  $("templates").replaceChildren(...page.catalogue.templates.map((t) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: t.name });
    if (t === page.template) button.setAttribute("aria-current", "true");
    button.onclick = () => choose(t.name, page.locale);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

function drawLocales() {
  const known = [...new Set([page.catalogue.default_locale, ...page.template.locales])].sort();
  const chosen = known.includes(page.locale) ? page.locale : OTHER;
  options($("locale"), [...known, OTHER], chosen);
  drawOther(chosen);
}

function drawOther(chosen) {
  show($("other"), chosen === OTHER);
  if (chosen === OTHER && document.activeElement !== $("wanted")) $("wanted").value = page.locale;
}

function choose(name, locale, sample) {
  const all = page.catalogue.templates;
  const focused = $("templates").contains(document.activeElement);
  page.template = all.find((t) => t.name === name) || all[0] || null;
  show(document.querySelector("main"), page.template);
  show($("empty"), !page.template);
  drawTemplates();
  if (!page.template) return;
  if (focused) $("templates").querySelector("[aria-current]").focus();
  page.locale = locale || page.catalogue.default_locale;
  const t = page.template;
  $("name").textContent = t.name;
  $("meta").textContent = [t.category, t.priority, t.channels.join(" + "), "version " + t.version].filter(Boolean).join(" · ");
  drawLocales();
  options($("sample"), samples().map((s) => s.name), sample);
  useData(page.edits.get(t.name));
}

// useData renders what was typed, or else the sample.
function useData(typed) {
  const sample = samples().find((s) => s.name === $("sample").value);
  const data = typed ?? (sample ? sample.data : "{}");
  if ($("data").value !== data) $("data").value = data; // the caret stays when nothing changed
  show($("reset"), typed !== undefined);
  render();
}

async function render() {
  remember();
  const mine = ++page.asked;
  try {
    const body = JSON.stringify({ template: page.template.name, locale: page.locale, data: $("data").value });
    const response = await fetch("render", { method: "POST", body });
    const view = response.ok ? await response.json() : { errors: [{ pointer: "", detail: await response.text() }] };
    if (mine === page.asked) display(view);
  } catch {
    live("lost", "Not connected, trying again…");
  }
}

// ——— what came of it ———

function display(view) {
  drawErrors(view.errors || []);
  if (view.errors && view.errors.length) return;
  const { email, push } = view.content;
  for (const channel of ["email", "push", "webhook"]) {
    show($(channel), view.locales[channel]);
    $(channel).querySelector("small").textContent = fellBack(view.locales[channel]);
  }
  drawEmail(email || {}, fellBack(view.locales.email));
  drawPush(push || {});
  $("webhook").querySelector("pre").textContent = view.webhook || "";
}

// fellBack is the locale that was rendered, and the one that it stands in for.
function fellBack(locale) {
  return !locale || locale === page.locale ? locale || "" : `${locale}, for want of ${page.locale}`;
}

function drawErrors(errors) {
  $("errors").replaceChildren(...errors.map((e) => {
    const item = document.createElement("li");
    if (e.pointer) item.append(Object.assign(document.createElement("code"), { textContent: e.pointer }));
    item.append(e.detail);
    return item;
  }));
  $("data").setAttribute("aria-invalid", String(errors.length > 0));
  $("output").classList.toggle("stale", errors.length > 0);
}

function drawEmail(email, locale) {
  $("email").querySelector(".subject").textContent = email.subject || "";
  $("text").textContent = email.text || "";
  $("plain").querySelector("small").textContent = locale;
  show($("html"), email.html);
  show($("looks"), email.html);
  show($("plain"), email.html && email.text);
  (email.html ? $("plain") : $("email")).append($("text"));
  mail.show(email.html || "");
}

function drawPush(push) {
  $("push").querySelector("strong").textContent = push.title || "";
  $("push").querySelector(".card p").textContent = push.body || "";
  $("push").querySelector(".extra").textContent = push.data ? JSON.stringify(push.data, null, 2) : "";
}

// mail is the frame. A link in it leads nowhere, for the policy keeps the
// frame from loading anything; but the browser's notice of that takes the
// mail's place, so the mail is put back.
const mail = {
  html: "",
  loading: false,
  show(html) { if (html !== this.html) this.put(html); },
  put(html) {
    this.html = html;
    this.loading = true;
    $("html").srcdoc = html;
  },
  loaded() {
    if (!this.loading) this.put(this.html);
    else this.loading = false;
  },
};
$("html").onload = () => mail.loaded();

for (const look of ["phone", "dark"]) {
  $(look).onclick = () => $(look).setAttribute("aria-pressed", String($("html").classList.toggle(look)));
}

// ——— life ———

async function load() {
  const response = await fetch("catalogue.json");
  page.catalogue = await response.json();
  page.catalogue.templates ||= [];
  const failure = page.catalogue.failure || [];
  show($("failure"), failure.length > 0);
  $("failure").textContent = failure.length ? "The last change is refused; this is the version before it.\n" + failure.join("\n") : "";
  choose(...remembered());
}

function reload() { load().catch(() => live("lost", "Not connected, trying again…")); }

function follow() {
  const events = new EventSource("events");
  events.onopen = () => { live("live", "Live: follows your files"); reload(); };
  events.onerror = () => live("lost", "Not connected, trying again…");
  events.addEventListener("changed", reload);
}

let typing;
$("data").oninput = () => {
  page.edits.set(page.template.name, $("data").value);
  show($("reset"), true);
  clearTimeout(typing);
  typing = setTimeout(render, 120);
};
$("reset").onclick = () => { page.edits.delete(page.template.name); useData(); $("data").focus(); };
$("sample").onchange = () => { page.edits.delete(page.template.name); useData(); };
$("locale").onchange = () => {
  const chosen = $("locale").value;
  drawOther(chosen);
  if (chosen === OTHER) return $("wanted").select();
  page.locale = chosen;
  render();
};
$("wanted").oninput = () => { page.locale = $("wanted").value.trim() || page.catalogue.default_locale; render(); };
addEventListener("hashchange", () => choose(...remembered()));
follow();
