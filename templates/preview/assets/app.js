// The preview page: it puts the parts together. The state stands in the
// address (state.js); every change of it leads through draw().
import { $, h, show, setText, fill, announce, segments, toggle, languageName } from "./dom.js";
import { state, change, read, onChange, edited, edit } from "./state.js";
import * as api from "./api.js";
import { Tree } from "./tree.js";
import { EmailView } from "./email.js";
import { PushView } from "./push.js";
import { WebhookView } from "./webhook.js";
import { SourceView, faultList, places } from "./source.js";
import { Editor } from "./editor.js";
import { help, send } from "./dialogs.js";

const OTHER = "other…"; // the choice of a locale that the template does not have
const pause = 90;       // between typing and rendering, in milliseconds
const page = { catalogue: { templates: [], faults: [] }, template: null, detail: null, asked: 0, files: [], warnings: [] };

const listed = (name) => (page.catalogue.templates || []).find((t) => t.name === name);
const locale = () => state.locale || page.catalogue.default_locale;
const samples = () => page.detail?.samples || [];
const sample = () => samples().find((s) => s.name === state.sample) || samples()[0];
const data = () => edited(state.template) ?? (sample() ? sample().data : "{}");
const channel = () => state.channel || page.template?.channels[0] || "email";

// ——— panes: what was rendered, one for each locale ———

class Pane {
  constructor() {
    this.title = h("h3", {});
    this.wrong = h("div", { class: "wrong" });
    this.views = { email: new EmailView(), push: new PushView(), webhook: new WebhookView(fresh) };
    this.body = h("div", { class: "body" }, Object.values(this.views).map((v) => v.root));
    this.nothing = h("p", { class: "hint none" });
    this.root = h("article", { class: "pane" }, h("header", {}, this.title), this.wrong, this.nothing, this.body);
  }

  // update shows a rendering; one that failed leaves the last good one, dimmed.
  update(view) {
    const failed = (view.errors || []).length + (view.faults || []).length > 0;
    if (!failed) this.good = view;
    this.root.classList.toggle("stale", failed);
    fill(this.wrong, (view.faults || []).map((f) => h("p", {}, f.file ? h("button", { type: "button", class: "link place", onclick: () => openSource(f.file, String(f.line || 1)) }, `${f.file}:${f.line || 1}`) : "", " ", f.what)));
    show(this.wrong, (view.faults || []).length);
    this.draw();
  }

  draw() {
    const now = channel();
    const there = this.good && this.good.locales?.[now];
    for (const [name, view] of Object.entries(this.views)) show(view.root, there && name === now);
    setText(this.nothing, there || !this.good ? "" : `This template has nothing for ${now}.`);
    show(this.nothing, !there && this.good);
    this.drawTitle(there);
    if (there) this.views[now].update(this.good, state, page.catalogue.app);
  }

  drawTitle(used) {
    const asked = this.good?.locale || "";
    fill(this.title, h("span", { class: "tag" }, used || asked), " ", languageName(used || asked || "und"), used && used !== asked && h("span", { class: "fallback" }, ` for want of ${asked}`));
  }
}

const panes = [new Pane(), new Pane()];

// fresh renders once more, for what ages: a webhook's signature.
async function fresh(of) {
  const answer = await api.render({ template: state.template, locales: [of], data: data() }).catch(() => null);
  return answer?.renderings[0].webhook;
}

// ——— loading and rendering ———

function live(to, words) {
  $("live").dataset.state = to;
  setText($("live"), words);
}

const lost = () => live("lost", "Not connected, trying again…");

async function load() {
  const name = state.template;
  const known = page.detail?.name === name; // so that its data is, too
  const sent = known && data();
  const [catalogue, detail] = await Promise.all([api.catalogue(), name ? api.template(name).catch(() => null) : null, known && render()]);
  page.catalogue = { ...catalogue, templates: catalogue.templates || [], faults: catalogue.faults || [] };
  page.detail = detail;
  await settle();
  draw();
  if (page.template && (name !== state.template || sent !== data())) await render();
  loadWarnings();
}

// loadWarnings comes last: what could be better, nobody waits for.
async function loadWarnings() {
  const answer = await api.warnings().catch(() => ({}));
  page.warnings = answer.warnings || [];
  drawWarnings();
  if (channel() === "source") drawPanes();
}

function drawWarnings() {
  // While faults keep a newer catalogue back, they are what is to be mended.
  const list = page.catalogue.faults.length ? [] : page.warnings;
  show($("warnings"), list.length);
  setText($("warnings").querySelector("summary"), `${list.length} ${list.length === 1 ? "warning" : "warnings"}: it works, and could be better`);
  fill($("warnings").querySelector("div"), places(list, openSource));
}

// settle chooses a template where the address names none that is there, and
// has its details.
async function settle() {
  page.template = listed(state.template) || page.catalogue.templates[0] || null;
  if (!page.template) return;
  if (state.template !== page.template.name) {
    if (state.template) announce(`There is no template ${state.template}: showing ${page.template.name}`);
    change({ template: page.template.name, sample: "", file: "", line: "" }, { replace: true });
  }
  if (page.detail?.name !== page.template.name) page.detail = await api.template(page.template.name);
  if (state.channel === "source") await loadSource();
}

async function loadSource() {
  const names = new Set([state.template, ...page.catalogue.faults.concat(page.warnings).map((f) => (f.file || "").split("/")[0]).filter((n) => n && !n.includes("."))]);
  const lists = await Promise.all([...names].slice(0, 10).map((n) => api.sources(n).catch(() => ({ files: [] }))));
  const files = new Map(lists.flatMap((l) => l.files || []).map((f) => [f.name, f]));
  page.files = [...files.values()];
}

async function render() {
  const mine = ++page.asked;
  const text = data();
  const wanted = [locale(), state.beside].filter(Boolean);
  try {
    const answer = await api.render({ template: state.template, locales: wanted.length ? wanted : [""], data: text });
    if (mine === page.asked) showRenderings(answer.renderings);
  } catch (error) {
    if (mine !== page.asked) return;
    if (error.status) showRenderings([{ errors: [{ pointer: "", detail: error.message }] }]);
    else lost();
  }
}

function showRenderings(renderings) {
  renderings.forEach((r, i) => panes[i].update(r));
  editor.explain(renderings[0].errors || []);
  const wrong = (renderings[0].errors || []).length;
  announce(wrong ? `${wrong} ${wrong === 1 ? "error" : "errors"} in the data` : "Rendered");
}

let typing;
function typed(text) {
  edit(state.template, text);
  show(editor.reset, true);
  clearTimeout(typing);
  typing = setTimeout(render, pause);
}

// ——— drawing ———

const tree = new Tree((name) => { openList(false); if (name !== state.template) change({ template: name, sample: "", file: "", line: "" }); });
const editor = new Editor({
  changed: typed,
  reset: () => { edit(state.template, undefined); drawEditor(true); render(); },
  choose: (mode) => change({ data: mode }, { replace: true }),
});
const source = new SourceView($("source"), openSource);

function openSource(file, line) { change({ channel: "source", file, line }); }

function draw() {
  show(document.querySelector("main"), page.template);
  show($("empty"), !page.template);
  tree.update(page.catalogue.templates, page.catalogue.faults, page.template?.name);
  drawFaults();
  drawWarnings();
  drawSending();
  if (!page.template) return;
  const t = page.template;
  document.title = `${t.name} · Template preview · Carillon`;
  setText($("name"), t.title || t.name);
  setText($("about"), t.description || "");
  show($("about"), !!t.description);
  setText($("meta"), [t.title && t.name, t.category, t.priority + " priority", t.mandatory && "nobody can opt out", "version " + t.version].filter(Boolean).join(" · "));
  drawChoices();
  drawChannels();
  drawTools();
  drawPanes();
  drawEditor(false);
}

function drawFaults() {
  const faults = page.catalogue.faults;
  show($("faults"), faults.length);
  fill($("faults"), faults.length ? faultList(faults, "The last good version is shown.", openSource) : []);
}

function drawSending() {
  show($("send"), page.catalogue.sending);
  show($("nosend"), !page.catalogue.sending);
}

function options(select, values, chosen) {
  fill(select, values.map(([value, words]) => h("option", { value }, words)));
  select.value = chosen;
}

function drawChoices() {
  const known = locales();
  const choices = [...known.map((l) => [l, l]), ...madeUp(), [OTHER, OTHER]];
  const chosen = choices.some(([l]) => l === locale()) ? locale() : OTHER;
  options($("locale"), choices, chosen);
  show($("other"), chosen === OTHER);
  if (chosen === OTHER && document.activeElement !== $("wanted")) $("wanted").value = locale();
  const beside = [["", "none"], ...known.map((l) => [l, l]), ...madeUp()];
  if (!beside.some(([l]) => l === state.beside)) beside.push([state.beside, state.beside]);
  options($("beside"), beside, state.beside);
  options($("sample"), samples().map((s) => [s.name, s.name]), sample()?.name || "");
}

// madeUp are the locales that no reader has: they show what a translation will
// do to a template before there is one.
const pseudoWords = { "en-XA": "en-XA · accented, longer", "ar-XB": "ar-XB · right to left" };
const madeUp = () => (page.catalogue.pseudo || []).map((l) => [l, pseudoWords[l] || l]);

const locales = () => [...new Set([page.catalogue.default_locale, ...(page.template?.locales || [])])];

const tabs = () => [...page.template.channels.map((c) => [c, c[0].toUpperCase() + c.slice(1)]), ["source", "Source"]];

function drawChannels() {
  const now = channel();
  fill($("channels"), tabs().map(([value, words]) => h("button", { type: "button", role: "tab", id: "tab-" + value, "data-value": value, "aria-selected": String(value === now), "aria-controls": "panel", tabindex: value === now ? "0" : "-1" }, words)));
  $("panel").setAttribute("aria-labelledby", "tab-" + now);
}

function drawTools() {
  const set = (key) => (value) => change({ [key]: value });
  const parts = {
    email: () => [segments("Part of the mail", [["html", "Mail"], ["text", "Text"], ["headers", "Headers"], ["raw", "Raw"]], state.view, set("view")),
      state.view === "html" && segments("Width", [["desktop", "Desktop", "640 to 800 pixels"], ["mobile", "Mobile", "375 pixels"]], state.width, set("width")),
      state.view === "html" && toggle("Dark", state.dark === "1", (on) => change({ dark: on ? "1" : "" }), "What prefers-color-scheme: dark makes of it. Apple Mail does as here; Gmail and Outlook on Windows change colours by rules of their own."),
      state.view === "html" && toggle("Images", state.images !== "off", (on) => change({ images: on ? "" : "off" }), "Placeholders stand for pictures from elsewhere, for this page asks nobody. Off: what readers see before they load any.")],
    push: () => [segments("How much of the push", [["collapsed", "Collapsed"], ["expanded", "Expanded"]], state.push, set("push"))],
  };
  redraw($("tools"), (parts[channel()] || (() => []))().filter(Boolean));
}

// redraw puts new buttons in, and the keyboard's place on the one that had it.
function redraw(element, parts) {
  const focused = element.contains(document.activeElement) && document.activeElement.textContent;
  element.replaceChildren(...parts);
  show(element, parts.length);
  if (focused) [...element.querySelectorAll("button")].find((b) => b.textContent === focused)?.focus();
}

function drawPanes() {
  const isSource = channel() === "source";
  show($("source"), isSource);
  show($("panes"), !isSource);
  if (isSource) return source.update(page.files, page.catalogue.faults.length ? page.catalogue.faults : page.warnings, state);
  const wanted = state.beside ? panes : panes.slice(0, 1);
  if ($("panes").childElementCount !== wanted.length) $("panes").replaceChildren(...wanted.map((p) => p.root));
  $("panes").classList.toggle("two", wanted.length === 2);
  for (const p of wanted) p.draw();
}

function drawEditor(force) {
  editor.update({ text: data(), schema: page.detail?.schema, mode: state.data, edited: edited(state.template) !== undefined, force });
}

// ——— what people do ———

onChange(async (before) => {
  try {
    const other = before.template !== state.template;
    if (other || state.channel === "source") await settle();
    if (other) for (const p of panes) p.good = null;
    draw();
    if (other || before.locale !== state.locale || before.beside !== state.beside || before.sample !== state.sample) await render();
  } catch {
    lost();
  }
});

// On a phone the list would take the first screen: there it opens by a button,
// and closes behind a choice.
function openList(open) {
  $("side").classList.toggle("open", open);
  $("list").setAttribute("aria-expanded", String(open));
}
$("list").onclick = () => openList($("list").getAttribute("aria-expanded") !== "true");

$("sample").onchange = () => pickSample($("sample").value);
function pickSample(name) {
  edit(state.template, undefined);
  change({ sample: name });
}

$("locale").onchange = () => {
  if ($("locale").value !== OTHER) return pickLocale($("locale").value);
  show($("other"), true);
  $("wanted").select();
};
function pickLocale(l) { change({ locale: l === page.catalogue.default_locale ? "" : l }); }
$("wanted").oninput = () => change({ locale: $("wanted").value.trim() }, { replace: true });
$("beside").onchange = () => change({ beside: $("beside").value });

$("channels").onclick = (e) => { const tab = e.target.closest("[role=tab]"); if (tab) pickChannel(tab.dataset.value); };
function pickChannel(c) { change({ channel: c === page.template.channels[0] ? "" : c }); }
$("channels").onkeydown = (e) => {
  const values = tabs().map(([v]) => v);
  const at = values.indexOf(channel());
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: values.length - 1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  pickChannel(values[(to + values.length) % values.length]);
  $("tab-" + channel()).focus();
};

const next = (list, now) => list[(list.indexOf(now) + 1) % list.length];

const keys = {
  "/": () => { openList(true); $("search").focus(); $("search").select(); },
  j: () => tree.choose(tree.neighbour(1)), k: () => tree.choose(tree.neighbour(-1)),
  ArrowDown: () => tree.choose(tree.neighbour(1)), ArrowUp: () => tree.choose(tree.neighbour(-1)),
  l: () => pickLocale(next(locales(), locale())),
  b: () => change({ beside: state.beside ? "" : next(locales(), locale()) }),
  s: () => samples().length > 1 && pickSample(next(samples().map((s) => s.name), sample().name)),
  m: () => change({ width: state.width === "mobile" ? "desktop" : "mobile" }),
  d: () => change({ dark: state.dark ? "" : "1" }),
  e: () => change({ push: state.push === "expanded" ? "collapsed" : "expanded" }),
  "?": help,
};
["email", "push", "webhook", "source"].forEach((c, i) => { keys[String(i + 1)] = () => tabs().some(([v]) => v === c) && pickChannel(c); });

addEventListener("keydown", (e) => {
  const typingIn = e.target.closest?.("input, textarea, select, dialog");
  if (e.key === "Escape" && typingIn && !e.target.closest("dialog")) return e.target.blur();
  if (typingIn || e.ctrlKey || e.metaKey || e.altKey || !page.template || !keys[e.key]) return;
  // Arrows scroll what has the keyboard; elsewhere they go through the list.
  if (e.key.startsWith("Arrow") && e.target !== document.body) return;
  e.preventDefault();
  keys[e.key]();
});

$("help").onclick = help;
$("skip").onclick = (e) => { e.preventDefault(); $("stage").focus(); };
$("send").onclick = () => send(page.catalogue.sending, page.catalogue.token, { template: state.template, locale: locale(), data: data() }, channel() === "source" ? page.template.channels[0] : channel(), panes[0].good?.webhook?.secret);

// ——— the theme ———

const themes = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" };
function drawTheme() { setText($("theme"), themes[document.documentElement.dataset.theme || "auto"]); }
$("theme").onclick = () => {
  const to = next(Object.keys(themes), document.documentElement.dataset.theme || "auto");
  if (to === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = to;
  try { localStorage.setItem("carillon-theme", to); } catch { /* it lasts as long as the page */ }
  drawTheme();
};

// ——— life ———

drawTheme();
read();
const reload = () => load().then(() => live("live", "Live: follows your files")).catch(lost);
api.follow({ open: reload, lost, changed: reload });
