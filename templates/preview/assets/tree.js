// The catalogue as a tree: categories, and the templates in them. It is one
// stop of the Tab key; arrows move inside, as the ARIA pattern for trees has it.
import { $, h, show, fill } from "./dom.js";

export class Tree {
  constructor(choose) {
    this.choose = choose;
    this.closed = new Set();
    this.templates = [];
    this.faulty = new Map();
    this.root = $("tree");
    this.root.onkeydown = (e) => this.key(e);
    this.root.onclick = (e) => this.click(e.target.closest("[role=treeitem]"));
    $("search").oninput = () => this.draw();
    $("search").onkeydown = (e) => this.searchKey(e);
  }

  update(templates, faults, current) {
    this.templates = templates;
    this.current = current;
    this.faulty = new Map();
    for (const f of faults) {
      if (f.severity === "warning") continue;
      const name = (f.file || "").split("/")[0];
      this.faulty.set(name, (this.faulty.get(name) || 0) + 1);
    }
    this.draw();
  }

  matching() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return this.templates.filter((t) => {
      const text = [t.name, t.title, t.description, t.category, ...t.channels, ...t.locales].join(" ").toLowerCase();
      return words.every((w) => text.includes(w));
    });
  }

  groups() {
    const groups = new Map();
    for (const t of this.matching()) {
      const category = t.category || "no category";
      groups.set(category, [...(groups.get(category) || []), t]);
    }
    return [...groups].sort(([a], [b]) => a.localeCompare(b));
  }

  draw() {
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.key : "";
    const groups = this.groups();
    fill(this.root, groups.map(([category, list]) => this.group(category, list)));
    show($("nothing"), groups.length === 0 && this.templates.length > 0);
    const items = this.items();
    const stop = items.find((i) => i.dataset.key === focused) || items.find((i) => i.getAttribute("aria-selected") === "true") || items[0];
    for (const i of items) i.tabIndex = i === stop ? 0 : -1;
    if (focused && stop) stop.focus();
  }

  group(category, list) {
    const open = !this.closed.has(category);
    return h("li", { role: "treeitem", "aria-expanded": String(open), "aria-level": "1", "data-key": "category " + category, class: "category", tabindex: "-1" },
      h("div", { class: "line" }, h("span", { class: "arrow", "aria-hidden": "true" }), h("span", { class: "words" }, category), h("span", { class: "count" }, String(list.length))),
      open && h("ul", { role: "group" }, list.map((t) => this.template(t))));
  }

  template(t) {
    const faults = this.faulty.get(t.name);
    return h("li", { role: "treeitem", "aria-level": "2", "aria-selected": String(t.name === this.current), "data-key": t.name, "data-template": t.name, class: "template", tabindex: "-1" },
      h("div", { class: "line" }, h("span", { class: "words", title: t.title ? t.name : "" }, t.title || t.name),
        faults ? h("span", { class: "badge", title: faults + " faults" }, String(faults)) : h("span", { class: "marks" }, t.channels.map((c) => h("i", { class: "mark " + c, title: c })))));
  }

  items() { return [...this.root.querySelectorAll("[role=treeitem]")]; }

  click(item) {
    if (!item) return;
    this.focus(item);
    if (item.dataset.template) this.choose(item.dataset.template);
    else this.fold(item, item.getAttribute("aria-expanded") === "true");
  }

  fold(item, closed) {
    const category = item.dataset.key.slice("category ".length);
    if (closed) this.closed.add(category);
    else this.closed.delete(category);
    this.draw();
  }

  focus(item) {
    if (!item) return;
    for (const i of this.items()) i.tabIndex = i === item ? 0 : -1;
    item.focus();
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const items = this.items();
    const at = items.indexOf(document.activeElement);
    const item = items[at];
    const expanded = item && item.getAttribute("aria-expanded");
    const moves = {
      ArrowDown: () => this.focus(items[at + 1]), ArrowUp: () => this.focus(items[at - 1]),
      Home: () => this.focus(items[0]), End: () => this.focus(items.at(-1)),
      ArrowRight: () => (expanded === "false" ? this.fold(item, false) : expanded && this.focus(items[at + 1])),
      ArrowLeft: () => (expanded === "true" ? this.fold(item, true) : !expanded && this.focus(item.parentElement.closest("[role=treeitem]"))),
      Enter: () => this.click(item), " ": () => this.click(item),
    };
    if (!moves[e.key] || at < 0) return;
    e.preventDefault();
    e.stopPropagation();
    moves[e.key]();
  }

  searchKey(e) {
    if (e.key === "Escape" && e.target.value) {
      e.target.value = "";
      this.draw();
    } else if (e.key === "ArrowDown") {
      e.preventDefault();
      this.focus(this.items()[0]);
    } else if (e.key === "Enter") {
      const first = this.matching()[0];
      if (first) this.choose(first.name);
    }
  }

  // neighbour is the template before or after the current one, as listed.
  neighbour(step) {
    const names = this.groups().flatMap(([, list]) => list.map((t) => t.name));
    const at = names.indexOf(this.current);
    return names[Math.min(Math.max(at + step, 0), names.length - 1)];
  }
}
