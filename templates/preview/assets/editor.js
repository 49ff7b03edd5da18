// The data that is rendered: as a form by the template's schema, or as JSON.
// The text is what counts; the form is one way to write it.
import { $, h, show, fill, segments } from "./dom.js";
import { Form } from "./form.js";
import { infer, typeOf } from "./schema.js";

// A number that a browser would round when the form wrote it back.
const roundable = (text) => /\d{16,}/.test(text.replace(/"(?:[^"\\]|\\.)*"/g, ""));

export class Editor {
  // changed is called with the text after each change; reset when somebody
  // wants the sample back; choose with "form" or "json".
  constructor({ changed, reset, choose }) {
    this.changed = changed;
    this.choose = choose;
    this.reset = h("button", { type: "button", class: "quiet small", id: "reset", hidden: true, onclick: reset }, "Back to the sample");
    this.tabs = h("div", {});
    this.area = h("textarea", { id: "data", spellcheck: "false", autocomplete: "off", rows: "18", class: "code", "aria-label": "Data as JSON", "aria-describedby": "errors" });
    this.area.oninput = () => { this.text = this.area.value; this.stale = true; this.changed(this.text); };
    this.holder = h("div", { id: "form" });
    this.notice = h("p", { class: "hint" });
    this.list = h("ul", { id: "errors", "aria-live": "polite" });
    $("editor").replaceChildren(h("div", { class: "row" }, h("h3", { id: "datatitle" }, "Data"), this.reset, this.tabs), this.list, this.notice, this.holder, this.area);
  }

  // update shows text; force says that it is another sample or template, and not
  // what was typed here.
  update({ text, schema, mode, edited, force }) {
    const shape = JSON.stringify(schema || null);
    if (force || text !== this.text || shape !== this.shape) this.stale = true;
    [this.text, this.schema, this.shape] = [text, schema, shape];
    show(this.reset, edited);
    this.setMode(mode);
  }

  setMode(mode) {
    if (mode !== this.mode) this.stale = true;
    this.mode = mode;
    fill(this.tabs, segments("Edit as", [["form", "Form"], ["json", "JSON"]], mode, this.choose));
    const why = mode === "form" ? this.whyNoForm() : "";
    show(this.notice, why);
    this.notice.textContent = why;
    const form = mode === "form" && !why;
    show(this.holder, form);
    show(this.area, !form);
    if (this.area.value !== this.text) this.area.value = this.text; // the caret stays when nothing changed
    if (form && this.stale) this.build();
    this.stale = false;
    this.explain(this.errors || []);
  }

  whyNoForm() {
    if (roundable(this.text)) return "The data holds a number that a browser would round: edit it as JSON.";
    try {
      if (typeOf(JSON.parse(this.text)) === "object") return "";
      return "The data is no JSON object: mend it here, and the form is back.";
    } catch {
      return "The data is no JSON yet: mend it here, and the form is back.";
    }
  }

  build() {
    const value = JSON.parse(this.text);
    this.form = new Form(this.schema || infer(value), value, (v) => {
      this.text = JSON.stringify(v, null, 2);
      this.changed(this.text);
    });
    this.holder.replaceChildren(this.form.element);
  }

  // explain shows what is wrong with the data, at its fields where there are any.
  explain(errors) {
    this.errors = errors;
    const shown = this.mode === "form" && !this.holder.hidden && this.form;
    const rest = shown ? this.form.explain(errors) : errors;
    this.area.setAttribute("aria-invalid", String(errors.length > 0));
    fill(this.list, rest.map((e) => h("li", {}, e.pointer && h("code", {}, e.pointer), e.detail)));
  }
}
