// The catalogue's files as they are now, with each fault under its line.
import { h, fill } from "./dom.js";

// columns turns a count of bytes into one of characters, as far as text goes.
function columns(text, byte) {
  const bytes = new TextEncoder().encode(text).slice(0, Math.max(0, byte - 1));
  return new TextDecoder().decode(bytes).length;
}

export class SourceView {
  constructor(root, open) {
    this.root = root;
    this.open = open;
    this.select = h("select", { "aria-label": "File" });
    this.select.onchange = () => open(this.select.value, "");
    this.code = h("div", { class: "code", role: "region", "aria-label": "The file's text", tabindex: "0" });
    root.replaceChildren(h("div", { class: "row" }, this.select), this.code);
  }

  update(files, faults, state) {
    const wanted = files.find((f) => f.name === state.file) || files.find((f) => faults.some((x) => x.file === f.name)) || files.find((f) => f.name.endsWith("email.html")) || files[0];
    const count = (f) => faults.filter((x) => x.file === f.name).length;
    fill(this.select, files.map((f) => h("option", { value: f.name, selected: f === wanted }, f.name + (count(f) ? ` (${count(f)} to look at)` : ""))));
    if (wanted) this.select.value = wanted.name;
    fill(this.code, wanted ? this.lines(wanted, faults.filter((f) => f.file === wanted.name), Number(state.line)) : h("p", { class: "hint" }, "There is no file to show."));
    const jump = wanted && `${wanted.name}:${state.line}`;
    if (state.line && jump !== this.jumped) this.code.querySelector(".jump")?.scrollIntoView({ block: "center" });
    this.jumped = jump;
  }

  lines(file, faults, jump) {
    const lines = file.text.split("\n");
    if (lines.at(-1) === "" && lines.length > 1) lines.pop();
    return h("ol", {}, lines.map((text, i) => {
      const here = faults.filter((f) => Math.min(Math.max(f.line, 1), lines.length) === i + 1);
      return h("li", { class: [here.some((f) => f.severity !== "warning") ? "faulty" : here.length > 0 && "warned", jump === i + 1 && "jump"].filter(Boolean).join(" ") || null, "data-line": String(i + 1) },
        h("code", {}, text || " "), here.map((f) => this.mark(f, text)));
    }));
  }

  mark(fault, text) {
    return h("div", { class: "mark " + (fault.severity || "fault") }, h("span", { class: "caret", "aria-hidden": "true" }, " ".repeat(columns(text, fault.column || 1)) + "^"), h("p", {}, fault.what));
  }
}

// places lists faults, each with the place that it leads to.
export function places(faults, open) {
  return [h("ul", {}, faults.slice(0, 50).map((f) => {
    if (!f.file) return h("li", {}, f.what);
    const at = `${f.file}:${f.line || 1}:${f.column || 1}`;
    return h("li", {}, h("button", { type: "button", class: "link place", onclick: () => open(f.file, String(f.line || 1)) }, at), " ", f.severity === "warning" && h("b", {}, "warning: "), f.what);
  })), faults.length > 50 && h("p", {}, `and ${faults.length - 50} more`)];
}

// faultList is what stands on top while something is wrong.
export function faultList(faults, lead, open) {
  const errors = faults.filter((f) => f.severity !== "warning").length;
  return [h("p", { class: "lead" }, h("b", {}, `${errors} ${errors === 1 ? "fault" : "faults"}. `), lead), places(faults, open)];
}
