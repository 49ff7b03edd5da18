"use strict";

const $ = (id) => document.getElementById(id);
const state = { catalogue: { templates: [] }, template: null, edited: false, asked: 0 };

function show(element, visible) { element.hidden = !visible; }

// The address's fragment remembers what is looked at: #template/locale/sample.
function remember() {
  const parts = [state.template.name, $("locale").value, $("sample").value];
  history.replaceState(null, "", "#" + parts.map(encodeURIComponent).join("/"));
}

function remembered() {
  return location.hash.slice(1).split("/").map(decodeURIComponent);
}

function option(value) {
  const o = document.createElement("option");
  o.value = o.textContent = value;
  return o;
}

function listTemplates() {
  $("templates").replaceChildren(...state.catalogue.templates.map((t) => {
    const button = document.createElement("button");
    button.textContent = t.name;
    if (state.template && t.name === state.template.name) button.setAttribute("aria-current", "true");
    button.onclick = () => { state.edited = false; choose(t.name); };
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

function choose(name, locale, sample) {
  const all = state.catalogue.templates;
  state.template = all.find((t) => t.name === name) || all[0] || null;
  show($("work"), state.template);
  show($("empty"), !state.template);
  listTemplates();
  if (!state.template) return;
  const t = state.template;
  $("name").textContent = t.name;
  $("meta").textContent = [t.category, t.priority, t.channels.join(" + "), "version " + t.version].filter(Boolean).join(" · ");
  $("locales").replaceChildren(...t.locales.map(option));
  $("locale").value = locale || $("locale").value || state.catalogue.default_locale;
  $("sample").replaceChildren(...(t.samples || []).map((s) => option(s.name)));
  if (sample && (t.samples || []).some((s) => s.name === sample)) $("sample").value = sample;
  if (!state.edited) useSample();
  render();
}

function useSample() {
  const sample = (state.template.samples || []).find((s) => s.name === $("sample").value);
  $("data").value = sample ? sample.data : "{}";
  state.edited = false;
}

async function render() {
  remember();
  const mine = ++state.asked;
  const body = JSON.stringify({ template: state.template.name, locale: $("locale").value, data: $("data").value });
  const response = await fetch("render", { method: "POST", body });
  const view = response.ok ? await response.json() : { errors: [{ pointer: "", detail: await response.text() }] };
  if (mine === state.asked) display(view);
}

function display(view) {
  const errors = view.errors || [];
  $("errors").replaceChildren(...errors.map((e) => {
    const item = document.createElement("li");
    if (e.pointer) item.append(Object.assign(document.createElement("code"), { textContent: e.pointer }));
    item.append(e.detail);
    return item;
  }));
  $("output").classList.toggle("stale", errors.length > 0);
  if (errors.length > 0) return;
  const { email, push } = view.content;
  for (const channel of ["email", "push", "webhook"]) {
    show($(channel), view.locales[channel]);
    $(channel).querySelector("h3 small").textContent = view.locales[channel] || "";
  }
  if (email) {
    $("email").querySelector(".subject").textContent = email.subject;
    show($("html"), email.html);
    show($("text"), email.text);
    if ($("html").srcdoc !== (email.html || "")) $("html").srcdoc = email.html || "";
    $("text").textContent = email.text || "";
  }
  if (push) {
    $("push").querySelector("strong").textContent = push.title || "";
    $("push").querySelector(".card p").textContent = push.body || "";
    $("push").querySelector(".extra").textContent = push.data ? JSON.stringify(push.data, null, 2) : "";
  }
  $("webhook").querySelector("pre").textContent = view.webhook || "";
}

async function load() {
  const response = await fetch("catalogue.json");
  state.catalogue = await response.json();
  state.catalogue.templates ||= [];
  const failure = state.catalogue.failure || [];
  show($("failure"), failure.length > 0);
  $("failure").textContent = failure.length ? "The last change is refused; this is the version before it.\n" + failure.join("\n") : "";
  const [name, locale, sample] = remembered();
  choose(name, locale, sample);
}

function follow() {
  const events = new EventSource("events");
  events.onopen = () => { $("live").textContent = "live: follows your files"; load(); };
  events.onerror = () => { $("live").textContent = "not connected: trying again"; };
  events.addEventListener("changed", load);
}

let typing;
$("data").oninput = () => { state.edited = true; clearTimeout(typing); typing = setTimeout(render, 150); };
$("locale").oninput = () => render();
$("sample").onchange = () => { useSample(); render(); };
follow();
